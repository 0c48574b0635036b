// The host: topology drawn, huge pages, THP, cgroups, swap, overcommit, isolation, facts.

import { get } from '../api.js';
import { bdi, h, refill, tableBox } from '../dom.js';
import { bytes, clip, cpuList, integer, plural } from '../format.js';
import { factsList } from './facts.js';

const SHORT = {
  Machine: 'Machine',
  Package: 'Package',
  NUMANode: 'NUMA node',
  L3Cache: 'L3',
  L2Cache: 'L2',
  L1Cache: 'L1',
  Core: 'Core',
  PU: 'CPU',
  Group: 'Group',
  Die: 'Die',
};
const DRAWN_MAX = 4096; // nodes; beyond it the picture says what it left out

const typeOf = (node) => String(node.type ?? '');
const isType = (node, name) => typeOf(node).toLowerCase().startsWith(name.toLowerCase());

function nodeTitle(node) {
  const type = SHORT[typeOf(node)] ?? clip(typeOf(node), 20);
  const size = node.size_bytes > 0 ? ` ${bytes(node.size_bytes)}` : '';
  return `${type}${Number.isInteger(node.index) && node.index >= 0 && !isType(node, 'Machine') ? ` ${node.index}` : ''}${size}`;
}

/** hwloc's tree as nested boxes. CPUs in `used` may be given to jobs. */
function drawNode(node, used, budget) {
  if (budget.left-- <= 0) return null;
  if (isType(node, 'PU')) {
    const cpu = node.index ?? cpuList(node.cpus)[0];
    const on = used.has(cpu);
    return h(
      'li',
      { class: `pu ${on ? 'used' : 'kept'}` },
      h('span', {}, String(cpu)),
      h('span', { class: 'sr' }, on ? ' measures' : ' not used by jobs'),
    );
  }
  const children = node.children ?? [];
  // Caches and groups that hold one thing only would double every frame.
  if (children.length === 1 && (isType(node, 'L1') || isType(node, 'Group') || isType(node, 'Die')))
    return drawNode(children[0], used, budget);
  const cls = isType(node, 'Core')
    ? 'core'
    : isType(node, 'L3')
      ? 'l3'
      : isType(node, 'Package')
        ? 'package'
        : isType(node, 'L2') || isType(node, 'L1')
          ? 'l2'
          : isType(node, 'NUMA')
            ? 'numa'
            : 'box';
  return h(
    'li',
    { class: `topo ${cls}` },
    h('span', { class: 'topo-name' }, nodeTitle(node)),
    children.length
      ? h(
          'ul',
          {},
          children.map((c) => drawNode(c, used, budget)),
        )
      : null,
  );
}

function countType(node, name) {
  return (
    (isType(node, name) ? 1 : 0) + (node.children ?? []).reduce((n, c) => n + countType(c, name), 0)
  );
}

/** The CPUs jobs may be given: what the daemon may use, without its own. */
function jobCpus(host) {
  const used = new Set(cpuList(host.cpus || host.topology.cpus));
  if (Number.isInteger(host.housekeeping_cpu)) used.delete(host.housekeeping_cpu);
  return used;
}

function key(cls, text) {
  return h('li', {}, h('span', { class: `pu ${cls} key`, 'aria-hidden': 'true' }, '0'), ` ${text}`);
}

function housekeepingWords(host) {
  if (host.housekeeping)
    return 'The daemon keeps to a CPU of its own, chosen from those a job leaves free.';
  if (host.housekeeping_threads > 0)
    return [
      `The daemon keeps to a CPU that a trial of up to ${plural(
        host.housekeeping_threads,
        'thread',
      )} leaves free; `,
      h('strong', {}, 'wider trials share theirs with it'),
      ', and results say so.',
    ];
  return [
    h('strong', {}, 'No CPU to spare for the daemon:'),
    ' it shares the measured ones, and results say so.',
  ];
}

function topologySection(host) {
  const { topology } = host;
  const head = h('h2', { id: 'topology-title' }, 'Topology');
  const section = (...parts) =>
    h('section', { class: 'card', 'aria-labelledby': 'topology-title' }, head, parts);
  if (!topology) return section(h('p', {}, 'This host tells no topology.'));
  const counts = [
    ['Package', 'package'],
    ['Core', 'core'],
    ['PU', 'CPU'],
  ]
    .map(([type, word]) => plural(countType(topology, type), word))
    .join(', ');
  const budget = { left: DRAWN_MAX };
  const picture = h(
    'ul',
    { class: 'topology', 'aria-label': 'Topology' },
    drawNode(topology, jobCpus(host), budget),
  );
  return section(
    h('p', {}, `${counts}. `, housekeepingWords(host)),
    h('ul', { class: 'legend' }, key('used', 'jobs may use'), key('kept', 'not for jobs')),
    h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Topology drawing' },
      picture,
    ),
    budget.left < 0 &&
      h('p', { class: 'small' }, `Only the first ${integer(DRAWN_MAX)} parts are drawn.`),
  );
}

function pagesSection(pages) {
  const pools = pages?.hugetlb ?? [];
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'pages-title' },
    h('h2', { id: 'pages-title' }, 'Huge pages'),
    h(
      'dl',
      { class: 'facts' },
      h('dt', {}, 'Transparent huge pages'),
      h('dd', {}, clip(pages?.thp?.enabled || 'not available', 40)),
      h('dt', {}, 'THP defrag'),
      h('dd', {}, clip(pages?.thp?.defrag || 'not available', 40)),
    ),
    pools.length
      ? tableBox(
          'pools',
          'Huge page pools',
          h(
            'table',
            {},
            h('caption', {}, 'hugetlb pools, in pages'),
            h(
              'thead',
              {},
              h(
                'tr',
                {},
                ['Page size', 'Total', 'Free', 'Reserved'].map((t, i) =>
                  h('th', { scope: 'col', class: i ? 'n' : null }, t),
                ),
              ),
            ),
            h(
              'tbody',
              {},
              pools.map((p) =>
                h(
                  'tr',
                  {},
                  h('th', { scope: 'row' }, bytes(p.size_bytes)),
                  [p.total, p.free, p.reserved].map((v) => h('td', { class: 'n' }, integer(v))),
                ),
              ),
            ),
          ),
        )
      : h(
          'p',
          {},
          'The kernel offers no hugetlb pools; jobs with hugetlb pages will fail as pages_unavailable.',
        ),
  );
}

function value(v) {
  if (v === null || v === undefined || v === '') return '–';
  if (typeof v === 'boolean') return v ? 'yes' : 'no';
  if (typeof v !== 'object') return clip(v, 200);
  return Object.entries(v)
    .map(
      ([k, x]) =>
        `${k.replaceAll('_', ' ')}: ${
          k.endsWith('_bytes') && typeof x === 'number' ? bytes(x) : value(x)
        }`,
    )
    .join(', ');
}

function cgroupSection(cgroups) {
  const rows = Object.entries(cgroups ?? {});
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'cgroups-title' },
    h('h2', { id: 'cgroups-title' }, 'cgroups'),
    rows.length
      ? tableBox(
          'cgroups',
          'cgroup controllers',
          h(
            'table',
            {},
            h('caption', { class: 'sr' }, 'Controllers and what the daemon can use'),
            h(
              'thead',
              {},
              h(
                'tr',
                {},
                ['Controller', 'Version', 'Note'].map((t) => h('th', { scope: 'col' }, t)),
              ),
            ),
            h(
              'tbody',
              {},
              rows.map(([name, c]) =>
                h(
                  'tr',
                  {},
                  h('th', { scope: 'row' }, clip(name, 40)),
                  h(
                    'td',
                    {},
                    c?.version ? `v${String(c.version).replace(/^v/, '')}` : 'not usable',
                  ),
                  h('td', {}, bdi(clip(c?.reason || '–', 200))),
                ),
              ),
            ),
          ),
        )
      : h(
          'p',
          {},
          'No controller can be used: jobs run without memory and CPU limits, and results say so.',
        ),
  );
}

export async function hostPage(main) {
  refill(main, h('p', { class: 'loading' }, 'Loading…'));
  const host = await get('host');
  const isolation = host.isolation ?? {};
  document.title = `${clip(host.name || 'Host', 40)} · heapmark`;
  refill(
    main,
    h('h1', {}, 'Host ', bdi(clip(host.name || '', 60))),
    h(
      'p',
      { class: 'lead' },
      'Results are compared only between hosts with the same key: ',
      h('code', {}, clip(host.key, 64)),
    ),
    topologySection(host),
    h(
      'div',
      { class: 'grid' },
      pagesSection(host.pages),
      cgroupSection(host.cgroups),
      h(
        'section',
        { class: 'card', 'aria-labelledby': 'isolation-title' },
        h('h2', { id: 'isolation-title' }, 'Isolation of trials'),
        h(
          'p',
          {},
          'Level ',
          h('strong', {}, clip(isolation.level || 'unknown', 20)),
          '. Each result records what it really had.',
        ),
        h(
          'p',
          {},
          (isolation.bits ?? []).map((b) => h('span', { class: 'tag' }, clip(b, 40))),
        ),
        h(
          'dl',
          { class: 'facts' },
          h('dt', {}, 'Supervisor'),
          h('dd', {}, host.supervisor ? value(host.supervisor) : 'not running'),
        ),
      ),
      h(
        'section',
        { class: 'card', 'aria-labelledby': 'memory-title' },
        h('h2', { id: 'memory-title' }, 'Swap and overcommit'),
        h(
          'dl',
          { class: 'facts' },
          h('dt', {}, 'Swap'),
          h('dd', {}, value(host.swap)),
          h('dt', {}, 'Overcommit'),
          h('dd', {}, value(host.overcommit)),
        ),
      ),
    ),
    h(
      'section',
      { class: 'card', 'aria-labelledby': 'facts-title' },
      h('h2', { id: 'facts-title' }, 'Facts behind the host key'),
      factsList(host.facts),
    ),
  );
}
