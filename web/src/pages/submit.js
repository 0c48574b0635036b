// The submit form: every field comes from the API's parameter rows, allocators and presets, so a
// new workload needs no change here. The server checks and prices the job as it is edited.

import { all, get, getToken, jobPath, post } from '../api.js';
import { bdi, debounce, download, h, link, refill } from '../dom.js';
import { checkbox, clearErrors, field, focusField, group, pointers, setError } from '../fields.js';
import { bytes, clip, duration, number, plural } from '../format.js';
import {
  checkValue,
  cliLine,
  curlLine,
  emptyState,
  fromBody,
  pointerField,
  toBody,
} from '../jobspec.js';
import { copyable, problemBox } from '../shell.js';

const ESTIMATE_MS = 400;
const PROFILES = [
  ['demo', 'demo: about two minutes'],
  ['quick', 'quick: a first look'],
  ['full', 'full: enough to report'],
];
const PLACEMENTS = ['compact', 'scatter', 'one-per-core', 'one-per-l3', 'numa-local', 'explicit'];
const LABELS = [
  ['project', 'Project'],
  ['commit', 'Commit'],
  ['parent', 'Parent commit'],
  ['branch', 'Branch'],
  ['tag', 'Tag'],
  ['sequence', 'Sequence number'],
  ['time', 'Commit time (RFC 3339)'],
];
const REPEAT = [
  ['rings', 'Rings', 'Fresh rings per cell: at least 10 to report, 20 to gate.'],
  ['rotations', 'Rotations', 'Turns each runner takes in a ring.'],
  ['slice_ops', 'Slice', 'Operations of one turn.'],
  ['blocks', 'Blocks', 'Repetitions of one-shot workloads.'],
];
const LIMITS = [
  ['memory_bytes', 'Memory', 'bytes per runner; 0 or empty: none'],
  ['turn_ms', 'Turn', 'ms a runner may hold the baton'],
  ['wall_s', 'Wall time', 's of one ring or trial'],
];

function rowHelp(row) {
  const parts = [row.help];
  if (row.type === 'size' && Number.isFinite(row.min))
    parts.push(`${bytes(row.min)} to ${bytes(row.max)}.`);
  else if (
    Number.isFinite(row.min) &&
    Number.isFinite(row.max) &&
    row.type !== 'boolean' &&
    row.type !== 'enum'
  )
    parts.push(`${number(row.min, 6)} to ${number(row.max, 6)}.`);
  if (row.default !== null && row.default !== undefined)
    parts.push(`Default ${row.type === 'size' ? bytes(row.default) : String(row.default)}.`);
  return parts.filter(Boolean).join(' ');
}

const splitList = (text) =>
  text
    .split(/[,;]/)
    .map((t) => t.trim())
    .filter(Boolean);

class SubmitPage {
  constructor(main, lists) {
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

  text(pointer, label, value, set, options = {}) {
    const input = h('input', {
      value,
      inputmode: options.numeric ? 'numeric' : null,
      maxlength: '4000',
      autocomplete: 'off',
      spellcheck: 'false',
      placeholder: options.placeholder,
      oninput: (e) => {
        set(e.target.value);
        setError(this.form, pointer, options.check?.(e.target.value) ?? '', 'check');
        this.changed();
      },
    });
    return field(pointer, label, input, options);
  }

  select(pointer, label, choices, value, set, options = {}) {
    return field(
      pointer,
      label,
      h(
        'select',
        {
          id: options.id ?? '',
          onchange: (e) => {
            set(e.target.value);
            this.changed();
          },
        },
        choices.map(([v, t]) => h('option', { value: v, selected: v === value }, t)),
      ),
      options,
    );
  }

  presetCard() {
    const { state } = this;
    const preset = this.presets.find((p) => p.name === state.preset);
    return h(
      'section',
      { class: 'card' },
      h('h2', {}, 'What to measure'),
      field(
        '/preset',
        'Start from',
        h(
          'select',
          {
            id: 'preset',
            onchange: (e) => {
              this.state.preset = e.target.value;
              if (e.target.value) this.state.workloads = [];
              this.render('preset');
            },
          },
          h('option', { value: '', selected: !state.preset }, 'My own choice of workloads'),
          this.presets.map((p) =>
            h(
              'option',
              { value: p.name, selected: p.name === state.preset },
              clip(p.title || p.name, 80),
            ),
          ),
        ),
        { help: preset?.summary ?? 'Choose workloads below, or a preset that already has them.' },
      ),
      preset &&
        h(
          'button',
          {
            type: 'button',
            id: 'customise',
            onclick: () => {
              const { name, labels, profile } = this.state;
              this.state = { ...fromBody(preset.job), preset: '', name, labels, profile };
              this.render('add-workload');
            },
          },
          'Edit this preset’s workloads',
        ),
      h(
        'div',
        { class: 'row' },
        this.select(
          '/profile',
          'Profile',
          PROFILES,
          state.profile,
          (v) => {
            state.profile = v;
          },
          { help: 'How often each cell is repeated.' },
        ),
        this.text(
          '/name',
          'Name',
          state.name,
          (v) => {
            state.name = v;
          },
          { help: 'Optional, for the list of jobs.' },
        ),
      ),
    );
  }

  paramField(entry, index, row) {
    const pointer = `/workloads/${index}/params/${row.name}`;
    const label = row.name.replaceAll('_', ' ');
    const set = (values) => {
      entry.params[row.name] = values;
    };
    const current = entry.params[row.name] ?? [];
    if (row.type === 'enum' || row.type === 'boolean') {
      const choices = row.type === 'boolean' ? ['false', 'true'] : (row.choices ?? []);
      return group(
        pointer,
        label,
        h(
          'div',
          { class: 'checks' },
          choices.map((c) =>
            checkbox(String(c), current.includes(String(c)), (on) => {
              const next = new Set(entry.params[row.name] ?? []);
              if (on) next.add(String(c));
              else next.delete(String(c));
              set(choices.map(String).filter((x) => next.has(x)));
              this.changed();
            }),
          ),
        ),
        rowHelp(row),
      );
    }
    return this.text(pointer, label, current.join(', '), (v) => set(splitList(v)), {
      unit: row.unit,
      help: rowHelp(row),
      numeric: row.type === 'integer',
      placeholder: row.type === 'size' ? bytes(row.default) : String(row.default ?? ''),
      check: (v) =>
        splitList(v)
          .map((t) => checkValue(row, t))
          .find(Boolean) ?? '',
    });
  }

  workloadEntry(entry, index) {
    const row = this.workloads.find((w) => w.name === entry.workload);
    const at = `/workloads/${index}`;
    if (!row)
      return h(
        'div',
        { class: 'entry', 'data-pointer': at },
        h('h3', {}, bdi(clip(entry.workload, 60))),
        h('p', { class: 'error' }, 'This server does not know this workload.'),
        this.removeButton(index),
      );
    return h(
      'div',
      { class: 'entry' },
      h('div', { class: 'title' }, h('h3', {}, row.name), this.removeButton(index)),
      h('p', { class: 'help' }, row.summary),
      h('div', { 'data-pointer': at }, h('p', { class: 'error', id: `entry-${index}-error` })),
      h(
        'div',
        { class: 'row' },
        row.params.map((p) => this.paramField(entry, index, p)),
      ),
      h(
        'div',
        { class: 'row' },
        this.text(
          `${at}/threads`,
          'Threads',
          entry.threads.join(', '),
          (v) => {
            entry.threads = splitList(v);
          },
          {
            help: `A list; “max” is every CPU the placement gives.${row.threads_max ? ` At most ${row.threads_max}.` : ''} Default: the server’s choice.`,
            placeholder: '1, max',
            check: (v) =>
              splitList(v).every((t) => t === 'max' || /^[1-9]\d{0,4}$/.test(t))
                ? ''
                : 'whole numbers from 1, or “max”',
          },
        ),
        row.pages?.length > 0 &&
          group(
            `${at}/pages`,
            'Pages',
            h(
              'div',
              { class: 'checks' },
              row.pages.map((mode) =>
                checkbox(mode, entry.pages.includes(mode), (on) => {
                  entry.pages = row.pages.filter((m) =>
                    m === mode ? on : entry.pages.includes(m),
                  );
                  this.changed();
                }),
              ),
            ),
            'None checked: the workload’s default.',
          ),
      ),
    );
  }

  removeButton(index) {
    return h(
      'button',
      {
        type: 'button',
        class: 'quiet',
        onclick: () => {
          this.state.workloads.splice(index, 1);
          this.render('add-workload');
        },
      },
      'Remove',
      h('span', { class: 'sr' }, ` workload ${index + 1}`),
    );
  }

  workloadsCard() {
    if (this.state.preset) return null;
    const families = [...new Set(this.workloads.map((w) => w.family))];
    const select = h(
      'select',
      { id: 'add-workload' },
      families.map((family) =>
        h(
          'optgroup',
          { label: clip(family, 40) },
          this.workloads
            .filter((w) => w.family === family)
            .map((w) => h('option', { value: w.name }, clip(`${w.name} — ${w.summary}`, 90))),
        ),
      ),
    );
    return h(
      'section',
      { class: 'card', 'data-pointer': '/workloads' },
      h('h2', {}, 'Workloads'),
      h(
        'p',
        { class: 'help' },
        'Lists make a matrix: every value with every other, for every allocator.',
      ),
      h('p', { class: 'error', id: 'workloads-error' }),
      this.state.workloads.map((w, i) => this.workloadEntry(w, i)),
      h(
        'div',
        { class: 'add' },
        h('label', { for: 'add-workload' }, 'Add a workload'),
        select,
        h(
          'button',
          {
            type: 'button',
            id: 'add',
            onclick: () => {
              this.state.workloads.push({
                workload: select.value,
                params: {},
                threads: [],
                pages: [],
                repeats: '',
                rotations: '',
                slice_ops: '',
                rest: {},
              });
              this.render('add-workload');
            },
          },
          'Add',
        ),
      ),
    );
  }

  toggleSubject(name, options, on) {
    const same = (a) => a.name === name && a.options.join() === options.join();
    this.state.allocators = this.state.allocators.filter((a) => !same(a));
    if (on) this.state.allocators.push({ name, options });
    // The catalogue's order, whatever the order of the clicks.
    const rank = (a) => this.allocators.findIndex((x) => x.name === a.name);
    this.state.allocators.sort((a, b) => rank(a) - rank(b) || a.options.length - b.options.length);
    this.renderReference();
    this.changed();
  }

  allocatorRow(a) {
    const chosen = (options) =>
      this.state.allocators.some((s) => s.name === a.name && s.options.join() === options.join());
    const note = a.available
      ? clip(a.summary, 160)
      : `unavailable: ${clip(a.reason || (a.package ? `install ${a.package}` : 'not found on this host'), 200)}`;
    return h(
      'div',
      { class: 'allocator' },
      checkbox(a.name, chosen([]), (on) => this.toggleSubject(a.name, [], on), {
        disabled: !a.available && !chosen([]),
        note,
        value: a.name,
      }),
      a.available &&
        a.options?.length > 0 &&
        h(
          'div',
          { class: 'options' },
          a.options.map((o) =>
            checkbox(
              `+ ${o.name}`,
              chosen([o.name]),
              (on) => this.toggleSubject(a.name, [o.name], on),
              { note: clip(o.help, 160), value: `${a.name}+${o.name}` },
            ),
          ),
        ),
      // Combinations made elsewhere stay, and can be dropped.
      this.state.allocators
        .filter((s) => s.name === a.name && s.options.length > 1)
        .map((s) =>
          checkbox(`+ ${s.options.join(' + ')}`, true, (on) =>
            this.toggleSubject(a.name, s.options, on),
          ),
        ),
    );
  }

  allocatorsCard() {
    const kinds = [
      ['allocator', 'Allocators'],
      ['classic', 'Textbook designs'],
      ['baseline', 'What the harness costs'],
    ];
    const unknown = this.state.allocators.filter(
      (s) => !this.allocators.some((a) => a.name === s.name),
    );
    this.referenceBox = h('div', {});
    return h(
      'section',
      { class: 'card', 'data-pointer': '/allocators' },
      h('h2', {}, 'Allocators'),
      h('p', { class: 'help' }, 'None checked: the preset’s, or every available one.'),
      h('p', { class: 'error', id: 'allocators-error' }),
      kinds.map(([kind, title]) => {
        const rows = this.allocators.filter((a) => a.kind === kind);
        return (
          rows.length > 0 &&
          h(
            'fieldset',
            {},
            h('legend', {}, title),
            rows.map((a) => this.allocatorRow(a)),
          )
        );
      }),
      unknown.map((s) =>
        checkbox(clip(s.name, 60), true, (on) => this.toggleSubject(s.name, s.options, on), {
          note: 'this server does not know this allocator',
        }),
      ),
      this.referenceBox,
    );
  }

  renderReference() {
    const names = this.state.allocators.length
      ? this.state.allocators.map((a) => [a.name, ...a.options].join('+'))
      : this.allocators.filter((a) => a.available && a.kind !== 'baseline').map((a) => a.name);
    if (this.state.reference && !names.includes(this.state.reference))
      names.push(this.state.reference);
    refill(
      this.referenceBox,
      this.select(
        '/reference',
        'Reference',
        [['', 'the server’s choice'], ...names.map((n) => [n, n])],
        this.state.reference,
        (v) => {
          this.state.reference = v;
        },
        {
          id: 'reference',
          help: 'Stands twice in every ring: the difference between its copies is the noise.',
        },
      ),
    );
  }

  advancedCard() {
    const { state } = this;
    const part = (name, rows) =>
      h(
        'div',
        { class: 'row' },
        rows.map(([key, label, help]) =>
          this.text(
            `/${name}/${key}`,
            label,
            state[name][key] ?? '',
            (v) => {
              state[name][key] = v.trim();
            },
            { help, numeric: true },
          ),
        ),
      );
    return h(
      'details',
      { class: 'card', id: 'advanced' },
      h('summary', {}, 'Labels, placement, repetitions, limits'),
      h('h3', {}, 'Labels'),
      h(
        'div',
        { class: 'row' },
        LABELS.map(([key, label]) =>
          this.text(`/labels/${key}`, label, state.labels[key] ?? '', (v) => {
            state.labels[key] = v;
          }),
        ),
      ),
      h('h3', {}, 'Placement'),
      h(
        'div',
        { class: 'row' },
        this.select(
          '/placement',
          'Policy',
          [['', 'the server’s default'], ...PLACEMENTS.map((p) => [p, p])],
          state.placement,
          (v) => {
            state.placement = v;
          },
          { help: 'Where threads go; the host page draws it.' },
        ),
        this.text(
          '/cpuset',
          'CPUs',
          state.cpuset,
          (v) => {
            state.cpuset = v.trim();
          },
          { help: 'For “explicit”: a list such as 0-3,8.' },
        ),
        this.select(
          '/mode',
          'Mode',
          [
            ['', 'ring (default)'],
            ['ring', 'ring'],
            ['solo', 'solo'],
          ],
          state.mode,
          (v) => {
            state.mode = v;
          },
          { help: 'Solo runs each allocator alone: noisier, a check of the rings.' },
        ),
      ),
      h('h3', {}, 'Repetitions'),
      part('repeat', REPEAT),
      h('h3', {}, 'Limits'),
      part('limits', LIMITS),
      this.text(
        '/seed',
        'Seed',
        state.seed,
        (v) => {
          state.seed = v.trim();
        },
        { help: 'Of operations and order. Same seed, same tapes.', numeric: true },
      ),
    );
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
      copyable('cli', 'heapmark', cliLine(body)),
    );
    this.estimateLater();
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
    ['workloads', 'allocators', 'presets'].map((p) => all(p)),
  );
  const query = new URLSearchParams(location.search);
  const clone = query.get('clone');
  const job = clone ? await get(jobPath(clone)) : null;
  const page = new SubmitPage(main, {
    workloads: workloads.items,
    allocators: allocators.items,
    presets: presets.items,
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
    page.state.preset = presets.items.some((p) => p.name === wanted)
      ? wanted
      : (presets.items[0]?.name ?? '');
  }
  page.render();
}
