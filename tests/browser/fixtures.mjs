// Made-up data in the shapes of the REST API: what the pages are tested and drawn with when no
// daemon is at hand. The figures are plausible, not measured.

export const JOB_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a01';
export const LIVE_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a02';
export const HOSTILE_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a03';
export const FAILED_ID = '0190f3c2-7a10-7cc0-8a51-3f6f6d1e2a04';
const HOST_KEY = '5f0c8f3e9ad14d27b8a1c0de77e4a9b2';

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

export const metrics = [
  [
    'pairs_per_s',
    'pairs/s',
    'higher',
    'One pair is one malloc and one free; all threads together.',
  ],
  ['ns_per_access', 'ns', 'lower', 'Time of one dependent load.'],
  ['frag_internal', 'ratio', 'lower', '1 - requested / usable: waste inside blocks.'],
  ['frag_total', 'ratio', 'lower', '1 - requested / heap at steady state.'],
  [
    'heap_bytes',
    'bytes',
    'lower',
    'RssAnon plus hugetlb above the empty process, at steady state.',
  ],
  ['heap_peak_bytes', 'bytes', 'lower', 'Peak of RssAnon plus hugetlb above the empty process.'],
  ['minor_faults', 'faults', 'lower', 'Minor page faults in the measured phase.'],
  ['fork_ns', 'ns', 'lower', 'fork() in the parent, median of the calls.'],
  ['fork_p99_ns', 'ns', 'lower', 'fork() in the parent, 99th percentile.'],
  ['fork_wait_ns', 'ns', 'lower', 'fork, child exit and wait together, median.'],
  ['cow_ns_per_write', 'ns', 'lower', 'First write after fork to a shared page.'],
  ['cow_base_ns_per_write', 'ns', 'neutral', 'The same writes without a fork.'],
  ['cow_amplification', 'ratio', 'lower', 'Private_Dirty gained / bytes in pages written.'],
  ['private_dirty_bytes', 'bytes', 'lower', 'Private_Dirty gained by the writer.'],
  ['huge_bytes', 'bytes', 'neutral', 'Bytes really backed by huge pages.'],
].map(([name, unit, direction, help]) => ({ name, unit, direction, help }));

const metricRow = new Map(metrics.map((m) => [m.name, m]));
const rows = (...names) => names.map((n) => metricRow.get(n));

const int = (name, def, min, max, unit, help) => ({
  name,
  type: 'integer',
  unit,
  help,
  default: def,
  min,
  max,
  choices: null,
});
const size = (name, def, min, max, help) => ({
  name,
  type: 'size',
  unit: 'bytes',
  help,
  default: def,
  min,
  max,
  choices: null,
});

const TABLE = [
  int('live', 100000, 100, 10000000, 'blocks', 'Blocks alive per thread.'),
  size('size_min_bytes', 16, 1, 1048576, 'Smallest block.'),
  size('size_max_bytes', 1024, 1, 1048576, 'Largest block.'),
];

export const workloads = [
  {
    name: 'table-cold',
    family: 'table',
    kind: 'oneshot',
    axis: 'allocator',
    pages: ['4k', 'thp'],
    summary: 'A fresh process fills and drains 100,000 blocks per thread: first touch included.',
    params: TABLE,
    metrics: rows('pairs_per_s', 'minor_faults', 'heap_peak_bytes'),
  },
  {
    name: 'table-churn',
    family: 'table',
    kind: 'steady',
    axis: 'allocator',
    pages: ['4k', 'thp'],
    summary:
      'Random replacement in a full table, some blocks freed by another thread; fragmentation.',
    params: [
      ...TABLE,
      int('remote_pct', 1, 0, 100, '%', 'Share of blocks freed by another thread.'),
      {
        name: 'touch',
        type: 'enum',
        unit: '',
        help: 'Which bytes of a block are written.',
        default: 'ends',
        min: null,
        max: null,
        choices: ['none', 'ends', 'full'],
      },
      {
        name: 'successor',
        type: 'boolean',
        unit: '',
        help: 'Hand slots to a successor thread.',
        default: false,
        min: null,
        max: null,
        choices: null,
      },
    ],
    metrics: rows('pairs_per_s', 'frag_total', 'frag_internal', 'heap_bytes', 'heap_peak_bytes'),
  },
  {
    name: 'table-warm',
    family: 'table',
    kind: 'steady',
    axis: 'allocator',
    pages: ['4k', 'thp'],
    summary: 'Churn without remote frees: the fast path.',
    params: TABLE,
    metrics: rows('pairs_per_s', 'frag_total', 'heap_peak_bytes'),
  },
  {
    name: 'chase',
    family: 'pages',
    kind: 'steady',
    axis: 'pages',
    pages: ['4k', 'thp', 'hugetlb-2m', 'hugetlb-1g'],
    threads_max: 1,
    summary: 'Dependent loads along a random cycle: what a TLB miss costs per page size.',
    params: [size('working_set_bytes', 268435456, 1048576, 68719476736, 'Memory walked.')],
    metrics: rows('ns_per_access', 'huge_bytes'),
  },
  {
    name: 'fork-latency',
    family: 'fork',
    kind: 'oneshot',
    axis: 'allocator',
    pages: ['4k', 'thp'],
    threads_max: 1,
    summary: 'fork() of a process whose heap the allocator built.',
    params: [size('heap_bytes', 536870912, 67108864, 68719476736, 'Heap of the parent.')],
    metrics: rows('fork_ns', 'fork_p99_ns', 'fork_wait_ns'),
  },
  {
    name: 'fork-cow',
    family: 'fork',
    kind: 'oneshot',
    axis: 'allocator',
    pages: ['4k', 'thp'],
    threads_max: 1,
    summary: 'First writes after fork: copy on write as the writer feels it.',
    params: [size('heap_bytes', 268435456, 67108864, 68719476736, 'Heap of the parent.')],
    metrics: rows(
      'cow_ns_per_write',
      'cow_base_ns_per_write',
      'cow_amplification',
      'private_dirty_bytes',
    ),
  },
].map((w) => ({ threads_max: null, ...w }));

const sha = (n) =>
  Array.from({ length: 64 }, (_, i) => ((n * 7 + i * 11 + (i % n)) % 16).toString(16)).join('');

function allocator(name, kind, summary, n, extra = {}) {
  return {
    name,
    kind,
    summary,
    available: true,
    reason: null,
    package: null,
    path: `/usr/lib/x86_64-linux-gnu/lib${name}.so`,
    sha256: sha(n),
    options: [],
    builds: [
      {
        sha256: sha(n),
        version: `${n}.0`,
        path: `/usr/lib/x86_64-linux-gnu/lib${name}.so`,
        first_seen: '2026-11-20T10:00:00.000Z',
        last_seen: '2026-11-24T06:00:00.000Z',
      },
    ],
    ...extra,
  };
}

export const allocators = [
  allocator('glibc', 'allocator', 'ptmalloc, the C library’s own.', 2),
  allocator('jemalloc', 'allocator', 'Size classes, arenas, decay.', 5, {
    options: [
      { name: 'thp-off', help: 'No transparent huge pages.' },
      { name: 'one-arena', help: 'All threads in one arena.' },
    ],
  }),
  allocator('tcmalloc', 'allocator', 'Thread caches over a central heap.', 3),
  allocator('mimalloc', 'allocator', 'Sharded free lists.', 4),
  allocator('tbbmalloc', 'allocator', 'Scalable allocator of oneTBB.', 6),
  allocator('scudo', 'allocator', 'Hardened, from LLVM.', 7, {
    available: false,
    sha256: null,
    builds: [],
    path: null,
    package: 'libclang-rt-14-dev',
    reason: 'library not found: apt install libclang-rt-14-dev',
  }),
  allocator('hmalloc', 'allocator', 'In this tree.', 8),
  allocator('first-fit', 'classic', 'Boundary tags, first fit, coalescing.', 9),
  allocator('null', 'baseline', 'Returns the same block: the cost of the harness.', 10),
  allocator('bump', 'baseline', 'Never frees.', 11),
];

export const presets = [
  {
    name: 'reference',
    title: 'Reference: allocators side by side',
    summary: 'The four-allocator table, huge pages, fork and copy on write.',
    job: {
      profile: 'quick',
      reference: 'glibc',
      workloads: [
        { workload: 'table-cold', threads: [1, 2, 4, 'max'], pages: ['4k'] },
        {
          workload: 'table-churn',
          params: { remote_pct: [1] },
          threads: [1, 'max'],
        },
        { workload: 'chase', pages: ['4k', 'thp', 'hugetlb-2m', 'hugetlb-1g'] },
        { workload: 'fork-latency' },
        { workload: 'fork-cow' },
      ],
    },
  },
  {
    name: 'pages',
    title: 'Page modes: chase by page size',
    summary: 'TLB cost alone.',
    job: {
      profile: 'quick',
      workloads: [
        {
          workload: 'chase',
          params: { working_set_bytes: [67108864, 268435456] },
        },
      ],
    },
  },
];

function pu(i) {
  return { type: 'PU', index: i, cpus: String(i), size_bytes: 0, children: [] };
}
const core = (i) => ({
  type: 'Core',
  index: i,
  cpus: `${i},${i + 8}`,
  size_bytes: 0,
  children: [pu(i), pu(i + 8)],
});
const l3 = (n) => ({
  type: 'L3Cache',
  index: n,
  cpus: '',
  size_bytes: 33554432,
  children: [0, 1, 2, 3].map((k) => core(n * 4 + k)),
});

export const host = {
  key: HOST_KEY,
  name: 'bench-01',
  cpus: '0-14',
  housekeeping: true,
  facts: {
    cpu_model: 'Example CPU 8-Core',
    microcode: '0xa20120e',
    kernel_release: '6.1.0-28-amd64',
    libc: 'glibc 2.36',
    governor: 'performance',
    boost: 'off',
    thp_enabled: 'madvise',
    thp_defrag: 'madvise',
    smt: 'on',
    memory_bytes: 67108864000,
    swap_bytes: 0,
    zswap: 0,
    swappiness: 60,
    overcommit_memory: 0,
    aslr: 2,
    numa_balancing: 0,
    cgroup: 'v2',
    hypervisor: '',
  },
  topology: {
    type: 'Machine',
    index: 0,
    cpus: '0-15',
    size_bytes: 67108864000,
    children: [
      {
        type: 'Package',
        index: 0,
        cpus: '0-15',
        size_bytes: 0,
        children: [l3(0), l3(1)],
      },
    ],
  },
  pages: {
    thp: { enabled: 'madvise', defrag: 'madvise' },
    hugetlb: [
      { size_bytes: 2097152, total: 256, free: 256, reserved: 0 },
      { size_bytes: 1073741824, total: 0, free: 0, reserved: 0 },
    ],
  },
  cgroups: {
    memory: { version: 2, reason: '' },
    cpuset: { version: 2, reason: '' },
    pids: { version: 2, reason: '' },
    hugetlb: {
      version: null,
      reason: 'not delegated: add hugetlb to Delegate= of the unit',
    },
  },
  swap: { total_bytes: 0, free_bytes: 0, zswap: false, swappiness: 60 },
  overcommit: { mode: 0, ratio: 50 },
  isolation: {
    level: 'partial',
    bits: ['uid', 'no_new_privs', 'rlimits', 'fds', 'net', 'cgroup'],
  },
  supervisor: { build_id: 'a1b2c3d4e5f6', generation: 1 },
};

const NAMES = [
  'glibc',
  'jemalloc',
  'tcmalloc',
  'mimalloc',
  'tbbmalloc',
  'hmalloc',
  'first-fit',
  'null',
];
const COLD = {
  glibc: 1.21e6,
  jemalloc: 1.64e6,
  tcmalloc: 1.71e6,
  mimalloc: 2.12e6,
  tbbmalloc: 1.66e6,
  hmalloc: 2.19e6,
  'first-fit': 0.61e6,
  null: 24e6,
};
const EXPONENT = {
  glibc: 0.7,
  jemalloc: 0.93,
  tcmalloc: 0.78,
  mimalloc: 0.95,
  tbbmalloc: 0.9,
  hmalloc: 0.94,
  'first-fit': -0.12,
  null: 0.99,
};
const FRAG = {
  glibc: 0.176,
  jemalloc: 0.121,
  tcmalloc: 0.098,
  mimalloc: 0.112,
  tbbmalloc: 0.164,
  hmalloc: 0.108,
  'first-fit': 0.082,
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
    noise: spread * 0.7,
    null_share: nullShare,
    harness_bound: nullShare !== null && nullShare > 0.5,
  };
}

let cellIndex = 0;

function cellOf(group, subject, role, summaries, trials = { ok: 10, failed: 0, discarded: 0 }) {
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
    ...cellOf(group, 'null', 'subject', {}, { ok: 0, failed: 3, discarded: 0 }),
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
  const hurt = out[4].cells[6];
  hurt.trials = { ok: 8, failed: 2, discarded: 0 };
  hurt.last_failure = 'crashed: SIGSEGV after 61 of 100 turns';
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
      runner: cell.subject,
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
