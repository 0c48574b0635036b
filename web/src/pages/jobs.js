// The list of jobs: filters kept in the URL, running jobs refreshed while the page is visible.

import { get } from '../api.js';
import { bdi, debounce, h, link, refill, tableBox } from '../dom.js';
import { ago, clip, duration, integer, localTime } from '../format.js';
import { isFinal, progressShare } from '../model.js';
import { copyable, guard, problemBox, stateBadge } from '../shell.js';

const STATES = ['queued', 'claimed', 'running', 'succeeded', 'failed', 'cancelled', 'lost'];
const REFRESH_MS = 4000;
const PAGE_SIZE = 50;

const FIELDS = ['state', 'project', 'branch', 'commit', 'preset'];

function query(filters, cursor) {
  const q = new URLSearchParams();
  for (const key of FIELDS) if (filters[key]) q.set(key, filters[key]);
  q.set('limit', String(PAGE_SIZE));
  if (cursor) q.set('cursor', cursor);
  return `jobs?${q}`;
}

export function jobName(job) {
  return clip(job.name || job.preset || 'unnamed job', 60);
}

function progressCell(job) {
  const p = job.progress ?? {};
  if (isFinal(job.state) || !p.steps_total)
    return h(
      'td',
      {},
      `${integer(p.steps_done ?? 0)} of ${integer(p.steps_total ?? 0)}`,
      p.steps_failed
        ? h('span', { class: 'small bad' }, ` ${integer(p.steps_failed)} failed`)
        : null,
    );
  return h(
    'td',
    {},
    h('progress', {
      max: '100',
      value: Math.round(progressShare(p) * 100),
      'aria-label': `Progress of ${jobName(job)}`,
    }),
    h(
      'span',
      { class: 'small' },
      ` ${integer(p.steps_done)} of ${integer(p.steps_total)}`,
      Number.isFinite(p.seconds_left) ? `, ${duration(p.seconds_left)} left` : '',
    ),
  );
}

function took(job) {
  const end = job.finished ? Date.parse(job.finished) : Date.now();
  return job.started ? duration((end - Date.parse(job.started)) / 1000) : '–';
}

function row(job) {
  const labels = job.labels ?? {};
  const where = [labels.project, labels.branch, labels.tag].filter(Boolean).map((t) => clip(t, 40));
  return h(
    'tr',
    {},
    h(
      'th',
      { scope: 'row' },
      link(`job?id=${encodeURIComponent(job.id)}`, bdi(jobName(job))),
      h(
        'div',
        { class: 'small' },
        h('code', {}, job.id.slice(0, 8)),
        job.preset ? ` · ${clip(job.preset, 40)}` : '',
        job.profile ? ` · ${job.profile}` : '',
      ),
    ),
    h('td', {}, stateBadge(job.state)),
    progressCell(job),
    h(
      'td',
      {},
      where.length ? where.map((t, i) => [i ? ' · ' : '', bdi(t)]) : '–',
      labels.commit ? h('div', { class: 'small' }, h('code', {}, clip(labels.commit, 12))) : null,
    ),
    h('td', { title: localTime(job.created) }, ago(job.created)),
    h('td', {}, took(job)),
  );
}

function table(jobs) {
  return tableBox(
    'jobs-table',
    'Jobs',
    h(
      'table',
      {},
      h('caption', {}, 'Jobs, newest first'),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Job', 'State', 'Steps', 'Project', 'Submitted', 'Took'].map((t) =>
            h('th', { scope: 'col' }, t),
          ),
        ),
      ),
      h('tbody', {}, jobs.map(row)),
    ),
  );
}

function empty(filtered) {
  if (filtered)
    return h(
      'div',
      { class: 'empty' },
      h('h2', {}, 'No job matches'),
      h('p', {}, 'Change the filters above, or ', link('./', 'show all jobs'), '.'),
    );
  const api = new URL('api/v1/jobs', location.href).href;
  return h(
    'div',
    { class: 'empty' },
    h('h2', {}, 'No jobs yet'),
    h(
      'p',
      {},
      'A job measures allocators on this machine. Start with the reference job, on the ',
      link('submit', 'submit page'),
      ' or from a shell:',
    ),
    copyable('empty-cli', 'heapmark', 'heapmark submit reference'),
    copyable(
      'empty-curl',
      'curl',
      `curl -sS ${api} -H 'Content-Type: application/json' ` +
        '-d \'{"preset":"reference","profile":"quick"}\'',
    ),
  );
}

function filterForm(filters, changed) {
  const later = debounce(300, changed);
  const select = (name, text, values) =>
    h(
      'label',
      {},
      text,
      h(
        'select',
        { name, id: `f-${name}`, onchange: changed },
        h('option', { value: '' }, 'any'),
        values.map((v) => h('option', { value: v, selected: filters[name] === v }, v)),
      ),
    );
  return h(
    'form',
    {
      class: 'filters',
      role: 'search',
      'aria-label': 'Filter jobs',
      onsubmit: (e) => {
        e.preventDefault();
        changed();
      },
    },
    select('state', 'State', STATES),
    [
      ['project', 'Project'],
      ['branch', 'Branch'],
      ['commit', 'Commit'],
      ['preset', 'Preset'],
    ].map(([name, text]) =>
      h(
        'label',
        {},
        text,
        h('input', {
          name,
          id: `f-${name}`,
          maxlength: '200',
          value: filters[name] ?? '',
          placeholder: 'any',
          oninput: later,
        }),
      ),
    ),
  );
}

class JobsPage {
  constructor(main) {
    this.filters = Object.fromEntries(
      [...new URLSearchParams(location.search)].filter(([k]) => FIELDS.includes(k)),
    );
    this.jobs = [];
    this.next = null;
    this.turn = 0; // of the filters: replies to older ones are dropped
    this.region = h('section', { id: 'jobs' }, h('p', { class: 'loading' }, 'Loading…'));
    this.note = h('p', { class: 'small', role: 'status', id: 'jobs-note' });
    this.form = filterForm(this.filters, () => this.filtered());
    const submit = link('submit', 'Submit a job', { class: 'button primary' });
    refill(
      main,
      h('div', { class: 'title' }, h('h1', {}, 'Jobs'), submit),
      this.form,
      this.region,
      this.note,
    );
  }

  filtered() {
    for (const key of FIELDS) this.filters[key] = this.form.elements[key].value.trim();
    const q = String(new URLSearchParams(Object.entries(this.filters).filter(([, v]) => v)));
    history.replaceState(null, '', q ? `?${q}` : location.pathname);
    this.load();
  }

  show() {
    const more =
      this.next &&
      h(
        'button',
        { type: 'button', id: 'more', onclick: () => guard(this.region, () => this.older()) },
        'Older jobs',
      );
    const filtered = FIELDS.some((k) => this.filters[k]);
    refill(this.region, this.jobs.length ? table(this.jobs) : empty(filtered), more);
  }

  load() {
    const mine = ++this.turn;
    return guard(this.region, async () => {
      const page = await get(query(this.filters, ''));
      if (mine !== this.turn) return;
      this.jobs = page.items;
      this.next = page.next;
      this.show();
    });
  }

  async older() {
    const page = await get(query(this.filters, this.next));
    this.jobs = this.jobs.concat(page.items);
    this.next = page.next;
    this.show();
  }

  async refresh() {
    const mine = this.turn;
    const page = await get(query(this.filters, ''));
    if (mine !== this.turn) return;
    // Older pages stay as loaded; what left the newest page (a filter) leaves the list.
    const last = page.items.at(-1)?.created ?? '';
    const older = this.jobs.slice(PAGE_SIZE).filter((j) => j.created < last);
    this.jobs = page.items.concat(older);
    if (!older.length) this.next = page.next;
    this.show();
    this.note.textContent = 'Running jobs refresh by themselves.';
  }

  async watch() {
    for (;;) {
      await new Promise((done) => setTimeout(done, REFRESH_MS));
      const running = this.jobs.some((j) => !isFinal(j.state));
      if (document.visibilityState !== 'visible' || !running) continue;
      try {
        await this.refresh();
      } catch (e) {
        if (e.status === 401) {
          refill(this.region, problemBox(e));
          return;
        }
        this.note.textContent = `Not refreshed: ${e.message}`;
      }
    }
  }
}

export async function jobsPage(main) {
  document.title = 'Jobs · heapmark';
  const page = new JobsPage(main);
  await page.load();
  page.watch();
}
