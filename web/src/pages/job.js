// One job: live while it runs (SSE, or polling when the stream is lost), results, evidence.

import { catalogue, get, jobPath, post, request } from '../api.js';
import { bdi, download, h, link, refill } from '../dom.js';
import { clip, localTime, plural } from '../format.js';
import { isFinal, progressShare, withKinds } from '../model.js';
import { guard, problemBox, stateBadge } from '../shell.js';
import { follow } from '../sse.js';
import { matrixView } from './matrix.js';
import { ProgressPanel } from './progress.js';
import { evidenceSections, loadEvidence } from './evidence.js';
import { jobName } from './jobs.js';
import { resultSections } from './groups.js';

const RESULTS_MS = 3000; // between two readings of the results of a running job

// Announced to screen readers at quarters only, not at every step.
function announcer(region) {
  let last = -1;
  return (job) => {
    const quarter = Math.floor(progressShare(job.progress) * 4);
    const text = isFinal(job.state) ? `Job ${job.state}.` : `${quarter * 25}% done.`;
    const key = isFinal(job.state) ? job.state : quarter;
    if (key !== last) {
      last = key;
      region.textContent = text;
    }
  };
}

function labelsLine(job) {
  const labels = Object.entries(job.labels ?? {}).filter(
    ([, v]) => v !== '' && v !== null && v !== undefined,
  );
  return labels.length
    ? h(
        'p',
        { class: 'labels' },
        labels
          .slice(0, 20)
          .map(([k, v]) =>
            h('span', { class: 'tag' }, `${clip(k, 30)} `, h('strong', {}, bdi(clip(v, 60)))),
          ),
      )
    : null;
}

async function exportAs(job, format, note) {
  const kinds = {
    json: ['results', 'application/json', jobPath(job.id, '/results')],
    csv: ['rows', 'text/csv', `results?job=${encodeURIComponent(job.id)}&format=csv`],
    ndjson: [
      'rows',
      'application/x-ndjson',
      `results?job=${encodeURIComponent(job.id)}&format=ndjson`,
    ],
  };
  const [what, type, path] = kinds[format];
  note.textContent = `Exporting ${format.toUpperCase()}…`;
  try {
    const response = await request(path, { headers: { Accept: type } });
    download(`heapmark-${job.id.slice(0, 8)}-${what}.${format}`, await response.blob());
    note.textContent = `Exported as ${format.toUpperCase()}.`;
  } catch (e) {
    note.textContent = `Export failed: ${e.message}`;
  }
}

function cancelButton(page, note) {
  const { job } = page;
  const cancel = async (event) => {
    const button = event.currentTarget;
    button.disabled = true;
    try {
      const reply = await post(jobPath(job.id, '/cancel'));
      page.update({ ...(reply.job ?? reply), cancel_requested: true });
    } catch (error) {
      note.textContent = `Not cancelled: ${error.message}`;
      button.disabled = false;
    }
  };
  return h(
    'button',
    { type: 'button', id: 'cancel', disabled: job.cancel_requested, onclick: cancel },
    job.cancel_requested ? 'Cancelling…' : 'Cancel job',
  );
}

function actions(page, note) {
  const { job } = page;
  return h(
    'div',
    { class: 'actions' },
    !isFinal(job.state) && cancelButton(page, note),
    link(`submit?clone=${encodeURIComponent(job.id)}`, 'Clone and edit', { class: 'button' }),
    h(
      'span',
      { class: 'group', role: 'group', 'aria-label': 'Export' },
      ['json', 'csv', 'ndjson'].map((format) =>
        h(
          'button',
          { type: 'button', id: `export-${format}`, onclick: () => exportAs(job, format, note) },
          format.toUpperCase(),
        ),
      ),
    ),
  );
}

function errorBox({ code, field, message }) {
  return h(
    'div',
    { class: 'notice bad', role: 'alert' },
    h(
      'p',
      {},
      h('strong', {}, clip(code, 60)),
      field ? [' at ', h('code', {}, clip(field, 100))] : null,
    ),
    h('p', {}, bdi(clip(message, 600))),
  );
}

function headView(page) {
  const { job } = page;
  const note = h('span', { class: 'small', role: 'status', id: 'action-note' });
  const lead = [
    job.preset && `preset ${clip(job.preset, 40)}`,
    job.profile && `profile ${clip(job.profile, 20)}`,
    plural(job.cells_count ?? 0, 'cell'),
    `submitted ${localTime(job.created)}`,
  ];
  return [
    h('p', { class: 'crumb' }, link('./', 'Jobs'), ' / ', h('code', {}, job.id.slice(0, 8))),
    h(
      'div',
      { class: 'title' },
      h('h1', {}, bdi(jobName(job)), ' ', stateBadge(job.state)),
      actions(page, note),
    ),
    h('p', { class: 'lead' }, lead.filter(Boolean).join(' · ')),
    labelsLine(job),
    note,
    job.error && errorBox(job.error),
  ];
}

class JobPage {
  constructor(main, id) {
    this.main = main;
    this.id = id;
    this.groups = [];
    this.status = 'live';
    this.view = { article: '', families: new Map(), hidden: new Set() };
    this.regions = Object.fromEntries(
      ['head', 'progress', 'matrix', 'results', 'evidence'].map((name) => [
        name,
        h('div', { id: `job-${name}` }),
      ]),
    );
    this.progress = new ProgressPanel(this.regions.progress);
    this.announce = h('div', { class: 'sr', 'aria-live': 'polite', id: 'announce' });
    this.say = announcer(this.announce);
    this.stop = new AbortController();
    window.addEventListener('pagehide', () => this.stop.abort());
    window.addEventListener('pageshow', (e) => {
      if (e.persisted) location.reload(); // back from the history: the stream was cut
    });
  }

  cellNames(indices) {
    const wanted = new Set(indices ?? []);
    return this.groups
      .flatMap((g) => g.cells)
      .filter((c) => wanted.has(c.index))
      .map((c) => c.subject);
  }

  update(job) {
    this.job = { ...this.job, ...job };
    document.title = `${
      isFinal(this.job.state)
        ? this.job.state
        : `${Math.round(progressShare(this.job.progress) * 100)}%`
    } · ${jobName(this.job)} · heapmark`;
    this.showHead();
    this.showProgress();
    this.say(this.job);
  }

  /** Only when it changed: a button redrawn at each step could not be clicked. */
  showHead() {
    const { progress: _, ...rest } = this.job;
    const shown = JSON.stringify(rest);
    if (shown !== this.headShown) refill(this.regions.head, headView(this));
    this.headShown = shown;
  }

  showProgress() {
    const names = this.cellNames(this.step?.cells).join(', ');
    this.progress.show(this.job, this.step, names, this.status);
  }

  async loadContext() {
    const [allocators, workloads, metrics, charts, host] = await Promise.all([
      catalogue('allocators'), // not optional: without it a baseline could lead
      catalogue('workloads').catch(() => []),
      catalogue('metrics').catch(() => []),
      import('./charts.js'), // beside the bundle, see build.mjs
      get('host').catch(() => null),
    ]);
    const rows = workloads.flatMap((w) => w.metrics ?? []).concat(metrics);
    this.host = host;
    this.allocators = allocators;
    this.ctx = {
      charts,
      workloads: new Map(workloads.map((w) => [w.name, w])),
      metrics: new Map(rows.map((m) => [m.name, m])),
    };
  }

  draw() {
    const sections = this.groups.some((g) =>
      g.cells.some((c) => Object.keys(c.summaries ?? {}).length),
    )
      ? resultSections(this.ctx, this.groups, this.view, () => this.draw())
      : h(
          'div',
          { class: 'empty' },
          h('h2', {}, isFinal(this.job.state) ? 'No results' : 'No results yet'),
          h(
            'p',
            {},
            isFinal(this.job.state)
              ? 'The job ended before a cell was measured. Why is said above and below; clone it to try again.'
              : 'Values appear here as soon as the first rings are done.',
          ),
        );
    refill(this.regions.results, sections);
    refill(this.regions.matrix, isFinal(this.job.state) ? null : matrixView(this.groups));
  }

  async results(force) {
    const now = Date.now();
    const choosing =
      document.activeElement?.matches('select') &&
      this.regions.results.contains(document.activeElement);
    if (choosing && !force) return; // a redraw would close the open list
    if (this.loading || (!force && now - (this.loadedAt ?? 0) < RESULTS_MS)) return;
    this.loading = true;
    try {
      const reply = await get(jobPath(this.id, '/results'), { signal: this.stop.signal });
      this.groups = withKinds(reply.groups, this.allocators);
      this.draw();
    } finally {
      this.loading = false;
      this.loadedAt = Date.now();
    }
  }

  async evidence() {
    evidenceSections(
      this.regions.evidence,
      await loadEvidence(this.id, this.job, this.stop.signal),
      this.job,
      this.host,
    );
  }

  onEvent(name, data) {
    if (name === 'step') {
      this.step = data;
      const { steps_done, steps_total, steps_failed, steps_discarded, steps_given_up } = data;
      const { seconds_left } = data;
      this.update({
        progress: {
          steps_done,
          steps_total,
          steps_failed,
          steps_discarded,
          steps_given_up,
          seconds_left,
        },
      });
      this.results(false).catch(() => {}); // read again with the next step
    } else if (name === 'state') {
      this.update({ state: data.state });
    }
  }

  async live() {
    await follow(
      this.id,
      {
        event: (name, data) => this.onEvent(name, data),
        job: (job) => {
          this.update(job);
          this.results(false).catch(() => {});
        },
        status: (word) => {
          this.status = word;
          this.showProgress();
        },
      },
      this.stop.signal,
    );
    if (this.stop.signal.aborted) return;
    this.update(await get(jobPath(this.id)));
    while (this.loading) await new Promise((done) => setTimeout(done, 50));
    await this.results(true);
    await this.evidence();
  }

  async start() {
    const [job] = await Promise.all([get(jobPath(this.id)), this.loadContext()]);
    const r = this.regions;
    refill(this.main, r.head, r.progress, this.announce, r.matrix, r.results, r.evidence);
    this.update(job);
    await guard(r.results, () => this.results(true));
    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    if (isFinal(job.state)) {
      await guard(r.evidence, () => this.evidence());
      return;
    }
    await this.live().catch((e) => {
      if (e.name !== 'AbortError') refill(r.evidence, problemBox(e));
    });
  }
}

export async function jobPage(main) {
  const id = new URLSearchParams(location.search).get('id') ?? '';
  if (!id) {
    refill(
      main,
      h('h1', {}, 'Which job?'),
      h(
        'p',
        {},
        'The address lacks a job’s id. Pick one from the ',
        link('./', 'list of jobs'),
        '.',
      ),
    );
    return;
  }
  refill(main, h('p', { class: 'loading' }, 'Loading…'));
  await new JobPage(main, id).start();
}
