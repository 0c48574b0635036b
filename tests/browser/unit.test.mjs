// Pure modules of the pages, without a browser: formatting, model, scaling, job bodies, SSE.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as f from '../../web/src/format.js';
import * as m from '../../web/src/model.js';
import * as j from '../../web/src/jobspec.js';
import { hash, style } from '../../web/src/palette.js';
import { sseParser } from '../../web/src/sse.js';
import { allocators, makeGroups, spec, workloads } from './fixtures.mjs';

/** rows: [arguments…, expected] */
function table(name, fn, rows) {
  it(name, () => {
    for (const row of rows) {
      const args = row.slice(0, -1);
      assert.deepEqual(fn(...args), row.at(-1), `${name}(${JSON.stringify(args)})`);
    }
  });
}

describe('format', () => {
  table('number', f.number, [
    [0, '0'],
    [1234567, '1,234,567'],
    [0.471, '0.471'],
    [11.04, '11'],
    [999.5, '1,000'],
    [0.000012, '1.20e\u22125'],
    [-3.5, '\u22123.5'],
    [null, '–'],
    [undefined, '–'],
    [NaN, '–'],
    [Infinity, '–'],
    ['<b>', '–'],
    [2e18, '2.00e+18'],
  ]);
  table('precise', f.precise, [
    [11, '11.0'],
    [8.5, '8.50'],
    [118, '118'],
    [0.1, '0.100'],
    [0, '0'],
    [null, '–'],
  ]);
  table('bytes', f.bytes, [
    [0, '0 B'],
    [1023, '1,023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [1048575, '1 MiB'],
    [268435456, '256 MiB'],
    [-2048, '\u22122 KiB'],
    [2 ** 60, '1,024 PiB'],
    [null, '–'],
    [NaN, '–'],
  ]);
  table('percent', f.percent, [
    [0.174, '17.4%'],
    [0.06, '6.00%'],
    [1.02, '102%'],
    [null, '–'],
    [NaN, '–'],
  ]);
  table('times', f.times, [
    [1, '1.00×'],
    [0.0908, '0.091×'],
    [0, '0.00×'],
    [12.345, '12.35×'],
    [null, '–'],
    [NaN, '–'],
  ]);
  table('duration', f.duration, [
    [0, '0 s'],
    [59.4, '59 s'],
    [60, '1 min 00 s'],
    [3599, '59 min 59 s'],
    [3600, '1 h 00 min'],
    [-5, '0 s'],
    [null, '–'],
    [undefined, '–'],
    [NaN, '–'],
  ]);
  const now = Date.parse('2026-11-24T06:00:00.000Z');
  table('ago', (iso) => f.ago(iso, now), [
    ['2026-11-24T05:59:50.000Z', '10 s ago'],
    ['2026-11-24T05:30:00.000Z', '30 min ago'],
    ['2026-11-24T01:00:00.000Z', '5 h ago'],
    ['2026-11-21T06:00:00.000Z', '3 days ago'],
    ['2026-01-01T00:00:00.000Z', '2026-01-01'],
    ['2027-01-01T00:00:00.000Z', '0 s ago'],
    ['no time', '–'],
    [null, '–'],
  ]);
  table('cpuList', f.cpuList, [
    ['0-3,8', [0, 1, 2, 3, 8]],
    ['', []],
    [null, []],
    ['3-1', []],
    ['a,1,-', [1]],
    [
      [2, 'x', 4],
      [2, 4],
    ],
    ['0-99999999', []],
  ]);
  table('clip', f.clip, [
    ['short', 'short'],
    ['a\nb\u0000c', 'a b c'],
    ['x'.repeat(100), `${'x'.repeat(79)}…`],
    [null, ''],
    ['😀'.repeat(100), `${'😀'.repeat(79)}…`],
  ]);
  table('shellQuote', f.shellQuote, [
    ['plain-1.json', 'plain-1.json'],
    ["it's", "'it'\\''s'"],
    ['$(x)', "'$(x)'"],
    ['', "''"],
  ]);
  table('scaleFor unit', (unit, big) => f.scaleFor(unit, big).unit, [
    ['bytes', 5e8, 'MiB'],
    ['bytes', 10, 'B'],
    ['ns', 17.6e6, 'ms'],
    ['ns', 118, 'ns'],
    ['ns', 2e4, 'µs'],
    ['us', 5e6, 's'],
    ['ratio', 0.2, '%'],
    ['pairs/s', 2e6, 'M pairs/s'],
    ['pairs/s', 2e9, 'G pairs/s'],
    ['faults', 12, 'faults'],
    ['', 1, ''],
    ['bytes', NaN, 'B'],
  ]);
  it('scaleFor keeps nulls apart from zero', () => {
    assert.equal(f.scaleFor('ns', 1).text(null), '–');
    assert.equal(f.scaleFor('ns', 1).text(0), '0');
  });
});

const sum = (ratio, low, high, direction = 'higher') => ({
  ratio,
  ratio_low: low,
  ratio_high: high,
  direction,
  count: 10,
  confidence: 0.95,
});

describe('model', () => {
  const subject = { role: 'subject' };
  table('verdict', m.verdict, [
    [{ role: 'reference' }, sum(1, 1, 1), 'reference'],
    [subject, null, 'none'],
    [subject, sum(null, 1, 2), 'none'],
    [subject, sum(1.2, null, 1.3), 'none'],
    [subject, sum(1.01, 0.99, 1.03), 'same'],
    [subject, sum(1.02, 1, 1.04), 'same'],
    [subject, sum(1.2, 1.1, 1.3), 'better'],
    [subject, sum(0.8, 0.7, 0.9), 'worse'],
    [subject, sum(1.2, 1.1, 1.3, 'lower'), 'worse'],
    [subject, sum(0.8, 0.7, 0.9, 'lower'), 'better'],
    [subject, sum(1.2, 1.1, 1.3, 'neutral'), 'higher'],
    [subject, sum(0.8, 0.7, 0.9, 'neutral'), 'lower'],
    [subject, { ...sum(1.2, 1.1, 1.3), count: 6 }, 'better'],
    [subject, { ...sum(1.2, 1.1, 1.3), count: 5 }, 'none'],
    [subject, { ...sum(1.2, 1.1, 1.3), confidence: 0.89 }, 'none'],
    [subject, { ...sum(1.2, 1.1, 1.3), confidence: null }, 'none'],
    [{ role: 'reference' }, { ...sum(1, 1, 1), count: 3 }, 'reference'],
  ]);
  const counted = (count, confidence, low = 1, high = 2) => ({
    low,
    high,
    count,
    confidence,
  });
  table('intervalText', (s) => m.intervalText(s, String), [
    [counted(6, 0.9), '1 – 2'],
    [counted(50, 0.95), '1 – 2'],
    [counted(3, 0.95), 'n=3'],
    [counted(5, 0.9375), 'n=5'],
    [counted(0, null, null, null), 'n=0'],
    [counted(9, 0.75), 'n=9'],
    [counted(9, null), 'n=9'],
    [counted(9, 0.95, null, 2), ''],
    [{ low: 1, high: 2 }, '1 – 2'],
    [{ low: null, high: null }, ''],
    [null, ''],
    [undefined, ''],
  ]);
  // What nobody has a value of is listed last, for its reason.
  const told = (value, direction) => ({
    value,
    direction,
    reason: value === null ? 'why' : null,
  });
  table('metricsOf', (cells) => m.metricsOf({ cells }).join(), [
    [
      [
        {
          summaries: {
            b: told(null, 'lower'),
            a: told(null, 'lower'),
            n: told(1, 'neutral'),
          },
        },
        {
          summaries: { a: told(2, 'lower'), pairs_per_s: told(null, 'higher') },
        },
      ],
      'a,n,b,pairs_per_s',
    ],
    [[{ summaries: { pairs_per_s: told(1, 'higher') } }], 'pairs_per_s'],
    [[{}], ''],
  ]);
  const names = (standings) => {
    const cells = standings.map((standing, i) => ({
      subject: 'abc'[i],
      summaries: standing === undefined ? {} : { x: { standing } },
    }));
    const { best, unsure } = m.leaders(cells, 'x');
    return [best, unsure].map((list) => list.map((c) => c.subject).join());
  };
  table('leaders', names, [
    [
      ['behind', 'best', null],
      ['b', ''],
    ],
    [
      ['tied', 'behind', 'tied'],
      ['a,c', ''],
    ],
    [
      [null, 'unsure', 'behind'],
      ['', 'b'],
    ],
    [
      ['tied', 'unsure', 'tied'],
      ['', 'b'],
    ],
    [
      [null, undefined, 'surprise'],
      ['', ''],
    ],
    [[], ['', '']],
  ]);
  it('kinds come from the catalogue, not from names', () => {
    const groups = [
      {
        axis: 'allocator',
        cells: ['null', 'odd', 'gone'].map((allocator) => ({ allocator })),
      },
    ];
    const list = [
      { name: 'null', kind: 'allocator' },
      { name: 'odd', kind: 'baseline' },
    ];
    const [{ cells }] = m.withKinds(groups, list);
    assert.deepEqual(
      cells.map((c) => m.isBaseline(c)),
      [false, true, false],
    );
    assert.equal(groups[0].cells[1].kind, undefined, 'the reply is not changed');
  });

  const heap = (workload, threads, remote, key = '', extra = {}) => ({
    workload,
    threads,
    axis: 'allocator',
    params: remote === null ? {} : { remote_pct: remote },
    params_key: key,
    cells: [{ summaries: { frag_total: { value: 0.1 } } }],
    ...extra,
  });
  const churn = (...rest) => heap('table-churn', ...rest);
  const source = (groups) => m.sourceText(m.sourceOf(groups, 'frag_total'));
  table('sourceOf and its words', source, [
    [
      [churn(1, 1), churn(8, 1), churn(2, 1), heap('table-warm', 16, null)],
      'table-churn, 8 threads',
    ],
    [
      [churn(8, 0, 'remote_pct=0'), churn(2, 1), churn(8, 50, 'remote_pct=50')],
      'table-churn, 2 threads',
    ],
    [
      [churn(8, 0, 'remote_pct=0'), churn(4, 50, 'remote_pct=50'), churn(1, 5, 'remote_pct=5')],
      'table-churn, 1 thread, remote_pct=5',
    ],
    [
      [heap('table-warm', 8, null), churn(4, 0, 'remote_pct=0')],
      'table-churn, 4 threads, remote_pct=0',
    ],
    [[churn(8, 1, 'live=10'), churn(2, 1)], 'table-churn, 2 threads'],
    [[churn(2, 1, 'live=10,touch=all')], 'table-churn, 2 threads, live=10, touch=all'],
    [[heap('table-cold', 2, null), heap('table-cold', 4, null)], 'table-cold, 4 threads'],
    [
      [churn(8, 1, '', { cells: [{ summaries: {} }] }), heap('table-cold', 1, null)],
      'table-cold, 1 thread',
    ],
    [[churn(8, 1, '', { axis: 'pages' })], 'not measured'],
    [[], 'not measured'],
  ]);

  const group = (threads, values, extra = {}) => ({
    group: threads,
    workload: 'w',
    params_key: '',
    pages: '4k',
    axis: 'allocator',
    threads,
    ...extra,
    cells: Object.entries(values).map(([name, [value, low, high]]) => ({
      allocator: name,
      subject: name,
      role: 'subject',
      summaries: {
        pairs_per_s: {
          value,
          low,
          high,
          direction: 'higher',
          count: 10,
          confidence: 0.95,
        },
      },
    })),
  });
  it('scaling: value, widest interval, ideal', () => {
    const [s] = m.scaling([group(1, { a: [10, 9, 11] }), group(4, { a: [30, 27, 33] })]);
    assert.equal(s.points[0].value, 1);
    assert.deepEqual(s.points[1], {
      threads: 4,
      value: 3,
      low: 27 / 11,
      high: 33 / 9,
      ideal: 4,
    });
  });
  it('scaling: what cannot be scaled is left out, never guessed', () => {
    const lines = (...groups) => m.scaling(groups).map((s) => s.subject);
    assert.deepEqual(lines(group(1, { a: [10, 9, 11] })), [], 'one point only');
    assert.deepEqual(
      lines(
        group(1, { b: [1, 1, 1] }),
        group(2, { a: [1, 1, 1], b: [2, 2, 2] }),
        group(4, { a: [2, 2, 2] }),
      ),
      ['b'],
      'a lacks the first thread count',
    );
    assert.deepEqual(
      lines(group(1, { a: [0, 0, 0] }), group(2, { a: [5, 5, 5] })),
      [],
      'nothing divides by zero',
    );
    assert.deepEqual(lines(group(1, { a: [null, null, null] }), group(2, { a: [5, 5, 5] })), []);
    const [s] = m.scaling([group(1, { a: [10, null, 0] }), group(2, { a: [20, 19, 21] })]);
    assert.equal(s.points[1].low, null);
    assert.equal(s.points[1].high, null);
    const pair = [group(1, { a: [10, 9, 11] }), group(2, { a: [20, 19, 21] })];
    pair[0].cells[0].summaries.pairs_per_s.count = 3;
    assert.equal(m.scaling(pair)[0].points[1].low, null, 'too few values at the first point');
  });
  it('families join what differs in threads only', () => {
    const all = [
      group(4, {}),
      group(1, {}),
      group(1, {}, { pages: 'thp' }),
      group(1, {}, { params_key: 'live=1' }),
    ];
    assert.deepEqual(
      m.families(all).map((fam) => fam.map((g) => g.threads)),
      [[1, 4], [1], [1]],
    );
  });
  it('article table from the fixtures', () => {
    const t = m.articleTable(m.withKinds(makeGroups(), allocators), '');
    assert.equal(t.family[0].workload, 'table-cold');
    assert.equal(t.widest.threads, 8);
    assert.equal(t.rows.at(-1).subject, 'null');
    assert.equal(t.rows.at(-1).baseline, true);
    const glibc = t.rows.find((r) => r.subject === 'glibc');
    assert.ok(glibc.scaling.value > 4 && glibc.scaling.ideal === 8);
    assert.equal(t.sources.fragmentation.workload, 'table-churn');
    assert.equal(t.sources.fragmentation.threads, 8);
    assert.equal(t.sources.peak, t.sources.fragmentation, 'table-cold has a peak too');
    assert.equal(t.rows.at(-1).fragmentation, null, 'null has no fragmentation');
  });
  it('article table: none, one thread, repeated reference, chosen workload', () => {
    assert.equal(m.articleTable([], ''), null);
    assert.equal(m.articleTable([group(1, { a: [null, null, null] })], ''), null);
    const one = group(1, { a: [1, 1, 1] });
    one.cells.push({ ...one.cells[0] });
    const t = m.articleTable([one], 'unknown');
    assert.equal(t.rows.length, 1);
    assert.equal(t.sources.scaling, null);
    assert.equal(t.rows[0].scaling, null);
    const groups = makeGroups();
    const churn = groups.find((g) => g.workload === 'table-churn');
    assert.equal(m.articleTable(groups, m.familyKey(churn)).family[0].workload, 'table-churn');
  });
  it('page modes are no harness baselines', () => {
    assert.equal(m.isBaseline({ kind: 'baseline' }), true);
    assert.equal(m.isBaseline({ kind: 'baseline' }, { axis: 'pages' }), false);
  });
  table('progressShare', m.progressShare, [
    [null, 0],
    [{}, 0],
    [{ steps_total: 0, steps_done: 0 }, 0],
    [{ steps_total: 4, steps_done: 1 }, 0.25],
    [{ steps_total: 4, steps_done: 9 }, 1],
  ]);
  it('metricsOf opens with the preferred metric and ends with context', () => {
    const g = {
      cells: [
        {
          summaries: {
            huge_bytes: { direction: 'neutral' },
            zzz: { direction: 'lower' },
            ns_per_access: { direction: 'lower' },
          },
        },
      ],
    };
    assert.deepEqual(m.metricsOf(g), ['ns_per_access', 'zzz', 'huge_bytes']);
    assert.deepEqual(m.metricsOf({ cells: [{}] }), []);
  });
});

describe('palette', () => {
  it('is a function of the name alone', () => {
    assert.deepEqual(style('mine'), style('mine'));
    assert.equal(style('jemalloc').colour, style('jemalloc+thp-off').colour);
    assert.notEqual(style('jemalloc').pattern, style('jemalloc+thp-off').pattern);
  });
  it('tells the catalogue apart', () => {
    const looks = allocators.map((a) => JSON.stringify(style(a.name)));
    assert.equal(new Set(looks).size, looks.length);
  });
  it('takes any name', () => {
    for (const name of ['', '+', '__proto__', 'constructor', '\u202eabc', 'x'.repeat(10000)])
      assert.ok(style(name).colour, name);
  });
  table('hash', hash, [
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
  ]);
});

describe('job bodies', () => {
  const row = (type, extra = {}) => ({
    name: 'p',
    type,
    unit: '',
    min: 1,
    max: 100,
    choices: null,
    ...extra,
  });
  table('parseValue', j.parseValue, [
    [row('integer'), '12', 12],
    [row('integer'), '1.5', undefined],
    [row('integer'), '', undefined],
    [row('integer'), '1e3', undefined],
    [row('integer'), '99999999999999999999', undefined],
    [row('size'), '64 MiB', 67108864],
    [row('size'), '1g', 2 ** 30],
    [row('size'), '4096', 4096],
    [row('size'), '1 XB', undefined],
    [row('size'), '0.3k', undefined],
    [row('number'), '1.5', 1.5],
    [row('number'), 'x', undefined],
    [row('number'), '', undefined],
    [row('boolean'), 'true', true],
    [row('boolean'), '0', false],
    [row('boolean'), 'maybe', undefined],
    [row('enum'), ' ends ', 'ends'],
  ]);
  it('checkValue names value, bound and unit', () => {
    assert.equal(j.checkValue(row('integer'), '50'), '');
    assert.match(
      j.checkValue(row('integer', { unit: '%' }), '101'),
      /101 is above the maximum of 100 %/,
    );
    assert.match(j.checkValue(row('integer'), '0'), /below the minimum of 1/);
    assert.match(j.checkValue(row('integer'), 'x'), /not a whole number/);
    assert.match(j.checkValue(row('size'), 'x'), /such as 64 MiB/);
    assert.match(j.checkValue(row('enum', { choices: ['a', 'b'] }), 'c'), /choose from a, b/);
  });
  it('a stored specification survives the form', () => {
    assert.deepEqual(j.toBody(j.fromBody(spec), workloads), {
      ...spec,
      workloads: [{ ...spec.workloads[0], params: { remote_pct: [0, 1], live: 100000 } }],
    });
  });
  it('what the form does not show is kept', () => {
    const body = {
      preset: 'p',
      profile: 'full',
      later: { a: 1 },
      workloads: [{ workload: 'table-cold', extra: 7 }],
    };
    assert.deepEqual(j.toBody(j.fromBody(body), workloads), body);
  });
  it('a value that is not of its type is sent as text for the server to refuse', () => {
    const state = j.fromBody({
      workloads: [{ workload: 'table-cold', params: { live: 'many' } }],
    });
    assert.equal(j.toBody(state, workloads).workloads[0].params.live, 'many');
  });
  it('scalars are lists, empty fields are absent', () => {
    const state = j.fromBody({
      profile: 'quick',
      workloads: { workload: 'chase', threads: 1, pages: 'thp' },
    });
    assert.deepEqual(j.toBody(state, workloads), {
      profile: 'quick',
      workloads: [{ workload: 'chase', threads: [1], pages: ['thp'] }],
    });
  });
  it('repeat, limits, labels and seed become numbers', () => {
    const state = {
      ...j.emptyState(),
      profile: '',
      repeat: { rings: '10', blocks: '' },
      limits: { wall_s: 'x' },
      labels: { sequence: '7', tag: '' },
      seed: '3',
    };
    assert.deepEqual(j.toBody(state, []), {
      repeat: { rings: 10 },
      limits: { wall_s: 'x' },
      labels: { sequence: 7 },
      seed: 3,
    });
  });
  table('cliLine', j.cliLine, [
    [{ preset: 'reference' }, 'heapmark submit reference'],
    [
      { preset: 'reference', profile: 'quick', name: 'a b' },
      "heapmark submit reference --profile quick --name 'a b'",
    ],
    [
      {
        preset: 'r',
        allocators: ['glibc', { name: 'jemalloc', options: ['thp-off'] }],
      },
      "heapmark submit r --allocators 'glibc,jemalloc+thp-off'",
    ],
    [{ preset: 'r', seed: 1 }, 'heapmark submit job.json'],
    [{ workloads: [] }, 'heapmark submit job.json'],
    [{ preset: 'r' }, 'http://h:1', 'heapmark submit r --server http://h:1'],
  ]);
  it('curlLine quotes for the shell and never writes the token', () => {
    const line = j.curlLine('http://h/api/v1/jobs', { name: "it's $(rm)" }, true);
    assert.ok(line.includes("'{\"name\":\"it'\\''s $(rm)\"}'"), line);
    assert.ok(line.includes('"Authorization: Bearer $HEAPMARK_TOKEN"'));
    assert.ok(!j.curlLine('http://h/', {}, false).includes('Authorization'));
  });
  const fields = ['/name', '/workloads', '/workloads/0/params/live'];
  table('pointerField', (p) => j.pointerField(p, fields), [
    ['/name', '/name'],
    ['/workloads/0/params/live/2', '/workloads/0/params/live'],
    ['/workloads/1/params/x', '/workloads'],
    ['/unknown', ''],
    ['', ''],
    [undefined, ''],
    ['no pointer', ''],
  ]);
});

describe('sse', () => {
  const feed = (...chunks) => {
    const p = sseParser();
    return chunks.flatMap((c) => p.push(c)).map((e) => [e.event, e.data, e.id]);
  };
  table('parser', feed, [
    ['data: 1\n\n', [['message', '1', '']]],
    ['event: step\nid: 7\ndata: {}\n\n', [['step', '{}', '7']]],
    ['event: a\r\ndata: x\r\n\r\n', [['a', 'x', '']]],
    ['event: a\rdata: x\r\r', []],
    ['event: a\rdata: x\r\r:', [['a', 'x', '']]],
    ['data: a\ndata: b\n\n', [['message', 'a\nb', '']]],
    ['data\n\n', [['message', '', '']]],
    [': beat\n\n', []],
    ['id: 3\n\n', []],
    [
      'da',
      'ta: 1\r',
      '\n\r',
      '\n',
      'data: 2\n\n',
      [
        ['message', '1', ''],
        ['message', '2', ''],
      ],
    ],
    [
      'id: 5\ndata: 1\n\ndata: 2\n\n',
      [
        ['message', '1', '5'],
        ['message', '2', '5'],
      ],
    ],
    ['\ufeffdata: 1\n\n', [['message', '1', '']]],
    ['data:no space\n\n', [['message', 'no space', '']]],
    ['id: a\0b\ndata: 1\n\n', [['message', '1', '']]],
    ['data: 1', []],
  ]);
  it('refuses an endless line', () => {
    const p = sseParser();
    assert.throws(() => {
      for (let i = 0; i < 5; i++) p.push('x'.repeat(1 << 20));
    }, /too long/);
  });
  it('reads retry', () => {
    const p = sseParser();
    p.push('retry: 250\nretry: x\n\n');
    assert.equal(p.retry, 250);
  });
});
