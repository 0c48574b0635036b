// Under the results: what failed and how far it came, what was discarded and why, the isolation
// reached, where it ran, and the job as submitted.

import { all, get, jobPath } from '../api.js';
import { bdi, h, refill, tableBox } from '../dom.js';
import { clip, integer, localTime, percent } from '../format.js';
import { copyable } from '../shell.js';
import { factsList } from './facts.js';

const FAILED_CELLS_MAX = 20;
const TRIALS_MAX = 2000;

const SIGNALS = {
  1: 'SIGHUP',
  2: 'SIGINT',
  4: 'SIGILL',
  5: 'SIGTRAP',
  6: 'SIGABRT',
  7: 'SIGBUS',
  8: 'SIGFPE',
  9: 'SIGKILL',
  11: 'SIGSEGV',
  13: 'SIGPIPE',
  14: 'SIGALRM',
  15: 'SIGTERM',
  24: 'SIGXCPU',
  25: 'SIGXFSZ',
  31: 'SIGSYS',
};

/** "SIGSEGV (11)" of a number, or of a text already. */
export function signalName(signal) {
  if (signal === null || signal === undefined || signal === 0 || signal === '') return '';
  return Number.isInteger(signal) ? `${SIGNALS[signal] ?? 'signal'} (${signal})` : clip(signal, 20);
}

const badTrial = (t) => t.outcome && t.outcome !== 'ok' && !t.discard_reason;

export async function loadEvidence(id, job, signal) {
  const cells = (await all(jobPath(id, '/cells'), 5000, { signal })).items;
  const failedCells = cells.filter((c) => c.trials?.failed > 0);
  const failures = [];
  for (const cell of failedCells.slice(0, FAILED_CELLS_MAX)) {
    const page = await get(jobPath(id, `/trials?cell=${cell.index}&limit=200`), { signal });
    failures.push({ cell, trials: page.items.filter(badTrial) });
  }
  const wanted = job.progress?.steps_discarded > 0 ? TRIALS_MAX : 200;
  const trials = await all(jobPath(id, '/trials'), wanted, { signal });
  return {
    cells,
    failures,
    failuresMore: Math.max(0, failedCells.length - FAILED_CELLS_MAX),
    trials: trials.items,
    trialsMore: trials.more,
  };
}

function trialLine(trial) {
  const how = [
    signalName(trial.signal),
    trial.exit_status ? `exit status ${trial.exit_status}` : '',
    trial.turns_total
      ? `${integer(trial.turns_done)} of ${integer(trial.turns_total)} turns done`
      : '',
  ]
    .filter(Boolean)
    .join(', ');
  return h(
    'li',
    {},
    h('strong', {}, clip(trial.outcome, 40)),
    how ? ` — ${how}` : '',
    trial.failure && trial.failure !== trial.outcome ? ` — ${clip(trial.failure, 120)}` : '',
    trial.message ? h('div', {}, bdi(clip(trial.message, 400))) : null,
    trial.log
      ? h(
          'details',
          {},
          h('summary', {}, 'Log of the trial'),
          h('pre', { tabindex: '0', 'aria-label': 'Log of the trial' }, trial.log.slice(0, 20000)),
        )
      : null,
  );
}

function failureSection({ failures, failuresMore }) {
  if (!failures.length) return null;
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'failures-title', id: 'failures' },
    h('h2', { id: 'failures-title' }, 'Failures'),
    h(
      'p',
      { class: 'small' },
      'A failed trial never becomes a number. The rest of its ring went on without it.',
    ),
    failures.map(({ cell, trials }) =>
      h(
        'div',
        { class: 'failure' },
        h(
          'h3',
          {},
          bdi(
            clip(
              [cell.subject, cell.workload, cell.params_key, `${cell.threads} T`, cell.pages]
                .filter(Boolean)
                .join(' · '),
              160,
            ),
          ),
        ),
        h(
          'p',
          { class: 'small' },
          `${integer(cell.trials.ok)} ok, ${integer(cell.trials.failed)} failed`,
        ),
        trials.length
          ? h('ul', {}, trials.slice(0, 5).map(trialLine))
          : h('p', {}, clip(cell.last_failure || 'The trial left no record.', 200)),
        trials.length > 5 &&
          h('p', { class: 'small' }, `and ${integer(trials.length - 5)} more like these`),
      ),
    ),
    failuresMore > 0 &&
      h('p', { class: 'small' }, `${integer(failuresMore)} more cells failed: see the export.`),
  );
}

function discardSection({ trials, trialsMore }, job) {
  const rings = new Map();
  for (const t of trials.filter((x) => x.discard_reason)) {
    const key = `${t.ring}`;
    if (!rings.has(key))
      rings.set(key, { ring: t.ring, reason: t.discard_reason, steal: t.steal_ratio, runners: 0 });
    rings.get(key).runners++;
  }
  if (!rings.size && !(job.progress?.steps_discarded > 0)) return null;
  const rows = [...rings.values()];
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'discards-title', id: 'discards' },
    h('h2', { id: 'discards-title' }, 'Discarded rings'),
    h(
      'p',
      { class: 'small' },
      'Whole rings only, without looking at their values, and measured again.',
    ),
    tableBox(
      'discards-table',
      'Discarded rings',
      h(
        'table',
        {},
        h('caption', { class: 'sr' }, 'Discarded rings and why'),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ['Ring', 'Why', 'Steal', 'Runners'].map((t) => h('th', { scope: 'col' }, t)),
          ),
        ),
        h(
          'tbody',
          {},
          rows
            .slice(0, 50)
            .map((r) =>
              h(
                'tr',
                {},
                h('th', { scope: 'row' }, String(r.ring)),
                h('td', {}, clip(r.reason, 200)),
                h('td', {}, Number.isFinite(r.steal) ? percent(r.steal) : '–'),
                h('td', {}, integer(r.runners)),
              ),
            ),
        ),
      ),
    ),
    (rows.length > 50 || trialsMore) &&
      h('p', { class: 'small' }, 'There are more: see the export.'),
  );
}

function tally(values) {
  const counts = new Map();
  for (const v of values) counts.set(v, (counts.get(v) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function isolationList({ trials }) {
  const run = trials.filter((t) => t.isolation_level);
  if (!run.length) return [h('p', {}, 'No trial has run yet.')];
  const levels = tally(run.map((t) => t.isolation_level));
  const bits = tally(run.flatMap((t) => t.isolation ?? []));
  const housed = run.filter((t) => t.housekeeping).length;
  return [
    h(
      'dl',
      { class: 'facts' },
      h('dt', {}, 'Level reached'),
      h(
        'dd',
        {},
        levels.map(([level, n]) => `${clip(level, 20)} (${integer(n)} trials)`).join(', '),
      ),
      h('dt', {}, 'By'),
      h(
        'dd',
        {},
        bits.length
          ? bits.map(([bit, n]) =>
              h(
                'span',
                { class: 'tag' },
                n === run.length
                  ? clip(bit, 30)
                  : `${clip(bit, 30)} (${integer(n)} of ${integer(run.length)})`,
              ),
            )
          : 'nothing: the daemon has no privilege for it',
      ),
      h('dt', {}, 'Housekeeping CPU'),
      h(
        'dd',
        {},
        housed === run.length
          ? 'The daemon kept to a CPU of its own.'
          : housed
            ? `In ${integer(housed)} of ${integer(run.length)} trials; in the others the daemon shared the measured CPUs.`
            : h(
                'span',
                {},
                h('strong', {}, 'None to spare.'),
                ' The daemon shared the measured CPUs, so expect more noise.',
              ),
      ),
    ),
  ];
}

function versionsTable({ cells, trials }) {
  const subjects = new Map(cells.map((c) => [c.index, c.allocator]));
  const seen = new Map();
  for (const t of trials) if (t.sha256) seen.set(t.sha256, t);
  if (!seen.size) return null;
  return tableBox(
    'builds',
    'Builds measured',
    h(
      'table',
      {},
      h('caption', {}, 'Builds measured, each proved by its file’s SHA-256'),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          ['Allocator', 'Version', 'SHA-256'].map((t) => h('th', { scope: 'col' }, t)),
        ),
      ),
      h(
        'tbody',
        {},
        [...seen.values()]
          .slice(0, 40)
          .map((t) =>
            h(
              'tr',
              {},
              h('th', { scope: 'row' }, bdi(clip(subjects.get(t.cell) ?? '', 60))),
              h('td', {}, bdi(clip(t.version || '–', 60))),
              h('td', {}, h('code', { title: t.sha256 }, t.sha256.slice(0, 16))),
            ),
          ),
      ),
    ),
  );
}

function environmentSection(evidence, job, host) {
  const here = host && host.key === job.host_key;
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'environment-title' },
    h('h2', { id: 'environment-title' }, 'Environment and isolation'),
    isolationList(evidence),
    versionsTable(evidence),
    h(
      'details',
      { id: 'host-facts' },
      h('summary', {}, 'Host'),
      h(
        'p',
        {},
        'Host key ',
        h('code', {}, clip(job.host_key || 'not yet known', 64)),
        here || !host
          ? null
          : ' — measured on another host or before this one changed, so its facts are not shown here.',
      ),
      here ? factsList(host.facts) : null,
    ),
  );
}

export function evidenceSections(region, evidence, job, host) {
  refill(
    region,
    failureSection(evidence),
    discardSection(evidence, job),
    environmentSection(evidence, job, host),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'Job as stored'),
      h(
        'dl',
        { class: 'facts' },
        h('dt', {}, 'Id'),
        h('dd', {}, h('code', {}, job.id)),
        h('dt', {}, 'Submitted'),
        h('dd', {}, localTime(job.created)),
        h('dt', {}, 'By'),
        h('dd', {}, bdi(clip(job.principal || 'this machine', 80))),
        h('dt', {}, 'Started'),
        h('dd', {}, localTime(job.started)),
        h('dt', {}, 'Finished'),
        h('dd', {}, localTime(job.finished)),
        h('dt', {}, 'Attempts'),
        h('dd', {}, integer(job.attempts)),
      ),
      h(
        'details',
        { id: 'spec' },
        h('summary', {}, 'Specification'),
        copyable('spec-json', 'JSON', JSON.stringify(job.spec ?? null, null, 2)),
      ),
    ),
  );
}
