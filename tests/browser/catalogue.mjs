// Made-up catalogue and host in the shapes of the REST API; the jobs are in fixtures.mjs.

export const HOST_KEY = '5f0c8f3e9ad14d27b8a1c0de77e4a9b2';

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
  ['cpu_outside_ratio', 'ratio', 'lower', 'CPU time used outside the turns / inside them.'],
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

export const metricRow = new Map(metrics.map((m) => [m.name, m]));
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

export const sha = (n) =>
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
  allocator('tbb', 'allocator', 'Scalable allocator of oneTBB.', 6),
  allocator('scudo', 'allocator', 'Hardened, from LLVM.', 7, {
    available: false,
    sha256: null,
    builds: [],
    path: null,
    package: 'libclang-rt-14-dev',
    reason: 'library not found: apt install libclang-rt-14-dev',
  }),
  allocator('classic-first', 'classic', 'Boundary tags, first fit, coalescing.', 9),
  allocator('null', 'baseline', 'Returns the same block: the cost of the harness.', 10),
  allocator('bump', 'baseline', 'Never frees.', 11),
];

export const presets = [
  {
    name: 'reference',
    title: 'Reference: allocators side by side',
    summary: 'The four-allocator table, huge pages, fork and copy on write.',
    job: {
      profiles: { demo: { repeat: { rings: 5 } } }, // the server's own business
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
