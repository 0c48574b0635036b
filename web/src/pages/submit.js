// The submit page: every field comes from the API's parameter rows, allocators and presets, so a
// new workload needs no change here. The server checks and prices the job as it is edited.

import { catalogue, get, getToken, jobPath, post } from '../api.js';
import { bdi, debounce, download, h, link, refill } from '../dom.js';
import { clearErrors, focusField, pointers, setError } from '../fields.js';
import { bytes, clip, duration, plural } from '../format.js';
import { cliLine, curlLine, emptyState, fromBody, pointerField, toBody } from '../jobspec.js';
import { copyable, problemBox } from '../shell.js';
import { SubmitForm } from './submit_form.js';

const ESTIMATE_MS = 400;

class SubmitPage extends SubmitForm {
  constructor(main, lists) {
    super();
    Object.assign(this, lists);
    this.state = emptyState();
    this.form = h('form', {
      id: 'submit-form',
      novalidate: true,
      onsubmit: (e) => {
        e.preventDefault();
        this.send();
      },
    });
    this.aside = h('aside', { class: 'preview', 'aria-label': 'Cost and request' });
    this.cost = h('div', { class: 'card', id: 'cost', 'aria-live': 'polite' });
    this.code = h('div', {});
    this.problem = h('div', { id: 'submit-problem' });
    this.estimateLater = debounce(ESTIMATE_MS, () => this.estimate());
    refill(
      main,
      h('div', { class: 'title' }, h('h1', {}, 'Submit a job')),
      h('div', { class: 'split' }, this.form, this.aside),
    );
    refill(this.aside, this.cost, this.code);
  }

  render(focusId = '') {
    refill(
      this.form,
      this.presetCard(),
      this.workloadsCard(),
      this.allocatorsCard(),
      this.advancedCard(),
      this.problem,
      h(
        'div',
        { class: 'actions' },
        h('button', { class: 'primary', type: 'submit', id: 'send' }, 'Submit job'),
      ),
    );
    this.renderReference();
    this.changed();
    if (focusId) document.getElementById(focusId)?.focus();
  }

  body() {
    return toBody(this.state, this.workloads);
  }

  changed() {
    const body = this.body();
    const url = new URL('api/v1/jobs', location.href).href;
    const json = JSON.stringify(body, null, 2);
    refill(
      this.code,
      copyable('json', 'job.json', json),
      h(
        'button',
        {
          type: 'button',
          class: 'quiet',
          onclick: () =>
            download('job.json', new Blob([`${json}\n`], { type: 'application/json' })),
        },
        'Save job.json',
      ),
      copyable('curl', 'curl', curlLine(url, body, Boolean(getToken()))),
      copyable(
        'cli',
        'heapmark',
        cliLine(body, new URL('.', location.href).href.replace(/\/$/, '')),
      ),
    );
    this.estimateLater();
  }

  /** The preset as the server expands it for the profile: what its workloads really are. */
  async customise() {
    try {
      const { spec } = await post('jobs?dry_run=1', this.body());
      const { name, labels } = this.state;
      this.state = { ...fromBody(spec), preset: '', name, labels };
      this.render('add-workload');
    } catch (error) {
      refill(this.problem, problemBox(error));
    }
  }

  showProblem(error, focus) {
    const pointer = pointerField(error.pointer, pointers(this.form));
    if (pointer) {
      setError(this.form, pointer, error.message, 'server');
      if (focus) focusField(this.form, pointer);
      return true;
    }
    return false;
  }

  async estimate() {
    const body = this.body();
    const mine = (this.turn = (this.turn ?? 0) + 1);
    if (!body.preset && !body.workloads) {
      clearErrors(this.form, 'server');
      refill(this.cost, h('h2', {}, 'Cost'), h('p', {}, 'Choose a preset or add a workload.'));
      return;
    }
    try {
      const plan = await post('jobs?dry_run=1', body);
      if (mine !== this.turn) return;
      clearErrors(this.form, 'server');
      refill(this.problem);
      const steps = Number.isFinite(plan.steps) ? ` in ${plural(plan.steps, 'step')}` : '';
      refill(
        this.cost,
        h('h2', {}, 'Cost'),
        h('p', { class: 'big' }, `about ${duration(plan.seconds_estimate)}`),
        h(
          'p',
          {},
          `${plural(plan.cells_count, 'cell')}${steps}`,
          Number.isFinite(plan.memory_bytes_estimate)
            ? `, up to ${bytes(plan.memory_bytes_estimate)} of memory`
            : '',
        ),
      );
    } catch (error) {
      if (mine !== this.turn) return;
      clearErrors(this.form, 'server');
      const found = error.pointer !== undefined && this.showProblem(error, false);
      refill(
        this.cost,
        h('h2', {}, 'Cost'),
        error.status === 422 || error.status === 400
          ? [
              h('p', { class: 'error' }, error.message),
              found &&
                h(
                  'button',
                  {
                    type: 'button',
                    id: 'show-field',
                    onclick: () =>
                      focusField(this.form, pointerField(error.pointer, pointers(this.form))),
                  },
                  'Show the field',
                ),
            ]
          : problemBox(error),
      );
    }
  }

  async send() {
    const button = document.getElementById('send');
    button.disabled = true;
    clearErrors(this.form, 'server');
    refill(this.problem);
    const body = this.body();
    const text = JSON.stringify(body);
    // One key per content: a second click or a retry of the same job cannot make two jobs.
    if (text !== this.sentText) {
      this.sentText = text;
      this.sentKey = randomKey();
    }
    try {
      const reply = await post('jobs', body, { 'Idempotency-Key': this.sentKey });
      location.assign(`job?id=${encodeURIComponent(reply.job.id)}`);
    } catch (error) {
      if (!this.showProblem(error, true)) {
        refill(this.problem, problemBox(error));
        this.problem.scrollIntoView({ block: 'center' });
      }
      button.disabled = false;
    }
  }
}

/** 128 random bits; crypto.randomUUID is missing on plain HTTP off loopback. */
function randomKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((b) => b.toString(16).padStart(2, '0'))
    .join('');
}

export async function submitPage(main) {
  refill(main, h('p', { class: 'loading' }, 'Loading…'));
  const [workloads, allocators, presets] = await Promise.all(
    ['workloads', 'allocators', 'presets'].map(catalogue),
  );
  const query = new URLSearchParams(location.search);
  const clone = query.get('clone');
  const job = clone ? await get(jobPath(clone)) : null;
  const page = new SubmitPage(main, {
    workloads,
    allocators,
    presets,
  });
  if (job) {
    page.state = fromBody(job.spec ?? {});
    // A stored specification names its workloads; a preset beside them would replace them.
    if (page.state.workloads.length) page.state.preset = '';
    page.form.before(
      h(
        'p',
        { class: 'notice' },
        'A copy of ',
        link(
          `job?id=${encodeURIComponent(job.id)}`,
          bdi(clip(job.name || job.preset || job.id, 60)),
        ),
        ', with its seed. Change what you like.',
      ),
    );
  } else {
    const wanted = query.get('preset') ?? 'reference';
    page.state.preset = presets.some((p) => p.name === wanted) ? wanted : (presets[0]?.name ?? '');
  }
  page.render();
}
