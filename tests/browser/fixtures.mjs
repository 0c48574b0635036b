// Made-up data in the shapes of the REST API: what the pages are tested and drawn with when no
// daemon is at hand. The figures are plausible, not measured.

import { HOST_KEY, host, metricRow, sha } from './catalogue.mjs';

export * from './catalogue.mjs';

export const JOB_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a01';
export const LIVE_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a02';
export const HOSTILE_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a03';
export const FAILED_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a04';

/** mulberry32: the same figures at every run. */
function random(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const NAMES = [
  'glibc',
  'jemalloc',
  'tcmalloc',
  'mimalloc',
  'tbb',
  'jemalloc+thp-off',
  'classic-first',
  'null',
];
const COLD = {
  glibc: 1.21e6,
  jemalloc: 1.64e6,
  tcmalloc: 1.71e6,
  mimalloc: 2.12e6,
  tbb: 1.66e6,
  'jemalloc+thp-off': 2.19e6,
  'classic-first': 0.61e6,
  null: 24e6,
};
const EXPONENT = {
  glibc: 0.7,
  jemalloc: 0.93,
  tcmalloc: 0.78,
  mimalloc: 0.95,
  tbb: 0.9,
  'jemalloc+thp-off': 0.94,
  'classic-first': -0.12,
  null: 0.99,
};
const FRAG = {
  glibc: 0.176,
  jemalloc: 0.121,
  tcmalloc: 0.098,
  mimalloc: 0.112,
  tbb: 0.164,
  'jemalloc+thp-off': 0.108,
  'classic-first': 0.082,
  null: null,
};

function summary(metric, value, spread, refValue, rnd, baseline, nullShare = null) {
  const row = metricRow.get(metric);
  const half = Math.abs(value) * spread * (0.8 + 0.4 * rnd());
  const ratio = refValue === null ? null : value / refValue;
  const rh = spread * 1.2;
  return {
    value,
    low: value - half,
    high: value + half,
    confidence: 0.95,
    count: 10,
    unit: row.unit,
    direction: row.direction,
    ratio: baseline ? null : ratio,
    ratio_low: baseline || ratio === null ? null : ratio * (1 - rh),
    ratio_high: baseline || ratio === null ? null : ratio * (1 + rh),
    noise: spread * (0.4 + 0.5 * rnd()),
    null_share: nullShare,
    net: row.name === 'ns_per_pair' && nullShare !== null ? value * (1 - nullShare) : null,
    harness_bound: nullShare !== null && nullShare > 0.5,
  };
}

let cellIndex = 0;

function cellOf(
  group,
  subject,
  role,
  summaries,
  trials = { ok: 10, failed: 0, discarded: 0, crowded: 0 },
) {
  return {
    index: cellIndex++,
    group: group.group,
    workload: group.workload,
    params: group.params,
    params_key: group.params_key,
    threads: group.threads,
    pages: group.pages,
    allocator: subject.split('+')[0],
    options: subject.split('+').slice(1),
    role,
    subject,
    trials,
    last_failure: '',
    summaries,
  };
}

const groupOf = (n, workload, threads, extra = {}) => ({
  group: n,
  workload,
  params: {},
  params_key: '',
  threads,
  pages: '4k',
  axis: 'allocator',
  cells: [],
  ...extra,
});

function tableGroup(n, workload, threads, factor, rnd, extra) {
  const group = groupOf(n, workload, threads, extra);
  const rate = (name) => COLD[name] * factor * threads ** EXPONENT[name];
  for (const name of NAMES) {
    const share = name === 'null' ? null : Math.min(0.9, rate(name) / rate('null'));
    const s = {
      pairs_per_s: summary(
        'pairs_per_s',
        rate(name) * (0.98 + 0.04 * rnd()),
        0.025,
        rate('glibc'),
        rnd,
        name === 'null',
        share,
      ),
    };
    if (workload !== 'table-cold' && FRAG[name] !== null)
      s.frag_total = summary('frag_total', FRAG[name], 0.03, FRAG.glibc, rnd, false);
    if (name !== 'null')
      s.heap_peak_bytes = summary(
        'heap_peak_bytes',
        (threads * 52e6) / (1 - (FRAG[name] ?? 0)),
        0.01,
        (threads * 52e6) / (1 - FRAG.glibc),
        rnd,
        false,
      );
    if (workload === 'table-cold')
      s.minor_faults = summary(
        'minor_faults',
        threads * 12800 * (1 + rnd() / 5),
        0.01,
        threads * 13800,
        rnd,
        name === 'null',
      );
    group.cells.push(cellOf(group, name, name === 'glibc' ? 'reference' : 'subject', s));
  }
  return group;
}

function chaseGroup(n, rnd) {
  const group = groupOf(n, 'chase', 1, { axis: 'pages', pages: '4k' });
  const ns = { '4k': 118, thp: 79.4, 'hugetlb-2m': 78.1 };
  for (const [pages, value] of Object.entries(ns)) {
    const cell = cellOf(group, 'null', pages === '4k' ? 'reference' : 'subject', {
      ns_per_access: summary('ns_per_access', value, 0.012, 118, rnd, false),
      huge_bytes: summary('huge_bytes', pages === '4k' ? 0 : 268435456, 0, 1, rnd, true),
    });
    group.cells.push({ ...cell, pages });
  }
  group.cells.push({
    ...cellOf(group, 'null', 'subject', {}, { ok: 0, failed: 3, discarded: 0, crowded: 0 }),
    pages: 'hugetlb-1g',
    last_failure:
      'pages_unavailable: no free 1 GiB pages; echo 1 > /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages',
  });
  return group;
}

function forkGroup(n, workload, values, rnd) {
  const group = groupOf(n, workload, 1);
  for (const name of NAMES.filter((x) => x !== 'null')) {
    const factor = 0.9 + 0.25 * rnd();
    const s = Object.fromEntries(
      Object.entries(values).map(([m, v]) => [
        m,
        summary(m, v * (name === 'glibc' ? 1 : factor), 0.05, v, rnd, false),
      ]),
    );
    group.cells.push(cellOf(group, name, name === 'glibc' ? 'reference' : 'subject', s));
  }
  return group;
}

/** Standings as the API gives them: here always two that cannot be told apart. */
function rank(group) {
  for (const metric of new Set(group.cells.flatMap((c) => Object.keys(c.summaries)))) {
    const rows = group.cells
      .filter((c) => c.summaries[metric])
      .map((c) => [c, c.summaries[metric]]);
    const sign = rows[0][1].direction === 'higher' ? -1 : 1;
    const real = rows.filter(([c, s]) => c.allocator !== 'null' && s.direction !== 'neutral');
    for (const [, s] of rows) s.standing = null;
    real.sort(([, a], [, b]) => sign * (a.ratio - b.ratio));
    for (const [i, [, s]] of real.entries()) s.standing = i < 2 ? 'tied' : 'behind';
  }
}

export function makeGroups() {
  const rnd = random(20261124);
  cellIndex = 0;
  let n = 0;
  const out = [1, 2, 4, 8].map((t) => tableGroup(n++, 'table-cold', t, 1, rnd));
  for (const t of [1, 8])
    out.push(
      tableGroup(n++, 'table-churn', t, 7, rnd, {
        params: { remote_pct: 1 },
        params_key: '',
      }),
    );
  out.push(chaseGroup(n++, rnd));
  out.push(
    forkGroup(
      n++,
      'fork-latency',
      { fork_ns: 17.6e6, fork_p99_ns: 24e6, fork_wait_ns: 19.1e6 },
      rnd,
    ),
  );
  out.push(
    forkGroup(
      n++,
      'fork-cow',
      {
        cow_ns_per_write: 2450,
        cow_base_ns_per_write: 41,
        cow_amplification: 1.02,
        private_dirty_bytes: 27e6,
      },
      rnd,
    ),
  );
  out.forEach(rank);
  const hurt = out[4].cells[6];
  hurt.trials = { ok: 8, failed: 2, discarded: 0, crowded: 0 };
  hurt.last_failure = 'crashed: SIGSEGV after 61 of 100 turns';
  for (const alone of out.filter((g) => g.axis !== 'pages').map((g) => g.cells[2])) {
    for (const s of Object.values(alone.summaries)) s.measured = 'solo';
    alone.summaries.cpu_outside_ratio = summary('cpu_outside_ratio', 0.034, 0.01, null, rnd, false);
  }
  return out;
}

export function makeJob(id, extra = {}) {
  return {
    id,
    state: 'succeeded',
    name: '',
    preset: 'reference',
    profile: 'quick',
    labels: { project: 'heapmark', commit: '4ab8689c0ffee', branch: 'main' },
    principal: 'local',
    host_key: HOST_KEY,
    created: '2026-11-24T06:00:01.000Z',
    started: '2026-11-24T06:00:02.000Z',
    finished: '2026-11-24T06:02:41.000Z',
    cells_count: 66,
    progress: {
      steps_total: 200,
      steps_done: 200,
      steps_failed: 2,
      steps_discarded: 1,
      steps_given_up: 3,
      seconds_left: null,
    },
    cancel_requested: false,
    attempts: 1,
    error: null,
    links: {
      self: `/api/v1/jobs/${id}`,
      cells: `/api/v1/jobs/${id}/cells`,
      trials: `/api/v1/jobs/${id}/trials`,
      results: `/api/v1/jobs/${id}/results`,
      events: `/api/v1/jobs/${id}/events`,
    },
    ...extra,
  };
}

export const spec = {
  profile: 'quick',
  reference: 'glibc',
  allocators: ['glibc', { name: 'jemalloc', options: ['thp-off'] }],
  workloads: [
    {
      workload: 'table-churn',
      params: { remote_pct: [0, 1], live: [100000] },
      threads: [1, 8],
      pages: ['4k'],
    },
  ],
  labels: { project: 'heapmark' },
  seed: 1,
};

export function makeTrials(groups) {
  const out = [];
  let id = 1;
  for (const cell of groups.flatMap((g) => g.cells)) {
    const base = {
      ring: cell.group * 10,
      cell: cell.index,
      repetition: 0,
      position: 0,
      runner: 0,
      role: cell.role,
      attempt: 1,
      attempt_state: 'final',
      failure: '',
      exit_status: 0,
      signal: 0,
      turns_done: 100,
      turns_total: 100,
      message: '',
      log: '',
      sha256: sha((cell.index % 8) + 2),
      version: '1.0',
      isolation: host.isolation.bits,
      isolation_level: 'partial',
      started: '2026-11-24T06:00:05.000Z',
      finished: '2026-11-24T06:00:06.000Z',
      steal_ratio: 0,
      psi_cpu_ratio: 0.01,
      housekeeping: true,
      discard_reason: '',
      values: {},
      slices: [],
    };
    for (let k = 0; k < (cell.trials.ok ? 1 : 0); k++)
      out.push({ ...base, id: id++, outcome: 'ok' });
    for (let k = 0; k < cell.trials.failed; k++)
      out.push({
        ...base,
        id: id++,
        repetition: 8 + k,
        outcome: cell.pages === 'hugetlb-1g' ? 'pages_unavailable' : 'crashed',
        failure: cell.last_failure,
        signal: cell.pages === 'hugetlb-1g' ? 0 : 11,
        turns_done: cell.pages === 'hugetlb-1g' ? 0 : 61,
        message: cell.pages === 'hugetlb-1g' ? 'no free 1 GiB pages' : '',
        log: cell.pages === 'hugetlb-1g' ? '' : 'runner: verify: slot 4711 lost its pattern\n',
      });
  }
  out.push(
    {
      ...out[0],
      id: id++,
      ring: 77,
      outcome: 'ok',
      steal_ratio: 0.031,
      discard_reason: 'steal time 3.1% above 1%',
    },
    {
      ...out[1],
      id: id++,
      ring: 77,
      outcome: 'ok',
      steal_ratio: 0.031,
      discard_reason: 'steal time 3.1% above 1%',
    },
  );
  return out;
}
