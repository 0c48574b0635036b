// The results of a job: the article's table first, then one section per workload with charts.
// Draws what it is given; the job page decides when.

import { bdi, h, tableBox } from '../dom.js';
import { clip, integer, percent, scaleFor, times } from '../format.js';
import {
  articleTable,
  cellLabel,
  families,
  familyKey,
  groupTitle,
  isBaseline,
  leaders,
  metricsOf,
  scaling,
  verdict,
  verdictWords,
} from '../model.js';

const known = (v) => v !== null && v !== undefined && Number.isFinite(v);
const arrow = (direction) =>
  ({ higher: '↑ higher is better', lower: '↓ lower is better' })[direction] ??
  'context, no better or worse';

/** Heading text and unit of a metric, from the API's metric rows. */
function metricInfo(ctx, name) {
  const row = ctx.metrics.get(name);
  return {
    name,
    title: name.replaceAll('_', ' '),
    help: row?.help ?? '',
    unit: row?.unit ?? '',
    direction: row?.direction ?? 'neutral',
  };
}

function interval(s, text) {
  return s && known(s.low) && known(s.high)
    ? h('span', { class: 'interval' }, `${text(s.low)} – ${text(s.high)}`)
    : null;
}

/** A value with its interval as text and as a thin bar on the column's common scale. */
function meterCell(s, text, largest, subject, ctx, extra = null) {
  if (!s || !known(s.value)) return h('td', { class: 'n' }, '–');
  const track = h('span', { class: 'meter', 'aria-hidden': 'true' });
  const part = (cls, from, to) => {
    const bar = h('span', { class: cls });
    bar.style.left = `${(100 * from) / largest}%`;
    bar.style.width = `${Math.max(0.6, (100 * (to - from)) / largest)}%`;
    track.append(bar);
    return bar;
  };
  if (largest > 0 && s.value >= 0) {
    part('meter-value', 0, s.value).style.background = ctx.charts.colourOf(subject);
    if (known(s.low) && known(s.high)) part('meter-range', Math.max(0, s.low), s.high);
  }
  return h(
    'td',
    { class: 'n' },
    h('span', { class: 'value' }, text(s.value)),
    ' ',
    interval(s, text),
    track,
    extra,
  );
}

function against(cell, s, reference) {
  const word = verdict(cell, s);
  if (word === 'reference' || word === 'none')
    return h('span', { class: 'verdict' }, verdictWords(word, reference));
  const range = `${times(s.ratio_low)} – ${times(s.ratio_high)}`;
  if (word === 'same')
    return h(
      'span',
      { class: 'verdict' },
      `no difference from ${clip(reference, 30)} `,
      h('span', { class: 'interval' }, range),
    );
  const mark = { better: '▲', worse: '▼' }[word] ?? '•';
  return h(
    'span',
    { class: `verdict ${word}` },
    h('span', { 'aria-hidden': 'true' }, `${mark} `),
    `${times(s.ratio)} ${clip(reference, 30)} `,
    h('span', { class: 'interval' }, range),
    h('span', { class: 'sr' }, `, ${word}`),
  );
}

const largestOf = (list) =>
  Math.max(0, ...list.flatMap((s) => (s ? [s.value, s.high] : [])).filter(known));

function harnessNote(s) {
  if (!s) return null;
  if (s.harness_bound)
    return h(
      'span',
      {
        class: 'tag warn',
        title:
          'More than half of the time is the harness itself: the allocator is faster than this shows',
      },
      `harness-bound${known(s.null_share) ? ` ${percent(s.null_share, 2)}` : ''}`,
    );
  return known(s.null_share) ? percent(s.null_share, 2) : '–';
}

const subjectHead = (ctx, label, cell) =>
  h(
    'th',
    { scope: 'row', class: 'subject' },
    ctx.charts.swatch(cell.subject),
    bdi(clip(label, 60)),
    cell.trials?.failed
      ? h('span', { class: 'tag bad' }, `${integer(cell.trials.failed)} failed`)
      : null,
  );

function columnHead(name, unit, direction, source) {
  return h(
    'th',
    { scope: 'col', class: 'n' },
    name,
    unit ? h('span', { class: 'unit' }, unit) : null,
    direction ? h('span', { class: 'dir' }, arrow(direction)) : null,
    source ? h('span', { class: 'src' }, source) : null,
  );
}

const shortSource = (group) => (group ? `${group.workload}, ${group.threads} T` : 'not measured');

function articleRow(ctx, row, table, scales, reference) {
  const { cell } = row;
  const t = row.throughput;
  const scale = row.scaling;
  return h(
    'tr',
    { class: row.baseline ? 'baseline' : null },
    subjectHead(ctx, row.subject, cell),
    meterCell(t, scales.throughput.text, scales.throughputMax, row.subject, ctx),
    h(
      'td',
      {},
      row.baseline ? h('span', { class: 'verdict' }, 'harness cost') : against(cell, t, reference),
    ),
    row.fragmentation && known(row.fragmentation.value)
      ? h(
          'td',
          { class: 'n' },
          h('span', { class: 'value' }, percent(row.fragmentation.value)),
          ' ',
          interval(row.fragmentation, percent),
        )
      : h('td', { class: 'n' }, '–'),
    table.sources.scaling
      ? h(
          'td',
          { class: 'n' },
          scale ? h('span', { class: 'value' }, times(scale.value)) : '–',
          ' ',
          interval(scale, times),
        )
      : null,
    row.peak && known(row.peak.value)
      ? h(
          'td',
          { class: 'n' },
          h('span', { class: 'value' }, scales.peak.text(row.peak.value)),
          ' ',
          interval(row.peak, scales.peak.text),
        )
      : h('td', { class: 'n' }, '–'),
    h('td', { class: 'n' }, t && known(t.noise) ? `±${percent(t.noise, 2)}` : '–'),
    h('td', { class: 'n' }, row.baseline ? '–' : (harnessNote(t) ?? '–')),
  );
}

function winnerSentence(ctx, cells, metric, what) {
  const best = leaders(cells, metric);
  if (!best.length) return null;
  const names = best.map((c) => bdi(clip(c.subject, 40)));
  const joined = names.flatMap((n, i) =>
    i === 0 ? [n] : [i === names.length - 1 ? ' and ' : ', ', n],
  );
  return best.length === 1
    ? h('li', {}, h('strong', {}, joined), ` leads in ${what}.`)
    : h(
        'li',
        {},
        h('strong', {}, joined),
        `: no difference between them in ${what}; their intervals overlap.`,
      );
}

export function article(ctx, groups, view, changed) {
  const table = articleTable(groups, view.article);
  if (!table) return null;
  const { rows, widest, sources } = table;
  const reference = widest.cells.find((c) => c.role === 'reference')?.subject ?? 'the reference';
  const scales = { throughputMax: largestOf(rows.map((r) => r.throughput)) };
  scales.throughput = scaleFor('pairs/s', scales.throughputMax);
  scales.peak = scaleFor('bytes', largestOf(rows.map((r) => r.peak)));
  const first = table.family[0];
  const caption = `Allocators side by side: ${groupTitle(widest)}`;
  const body = (list) =>
    h(
      'tbody',
      {},
      list.map((row) => articleRow(ctx, row, table, scales, reference)),
    );
  const select =
    table.choices.length > 1 &&
    h(
      'label',
      { class: 'inline' },
      'Throughput and scaling from ',
      h(
        'select',
        {
          id: 'article-workload',
          onchange: (e) => {
            view.article = e.target.value;
            changed();
          },
        },
        table.choices.map((f) =>
          h(
            'option',
            { value: familyKey(f[0]), selected: f === table.family },
            [f[0].workload, f[0].params_key, f[0].pages].filter(Boolean).join(' · '),
          ),
        ),
      ),
    );
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'article-title' },
    h(
      'div',
      { class: 'title' },
      h('h2', { id: 'article-title' }, 'Allocators side by side'),
      select,
    ),
    tableBox(
      'article',
      caption,
      h(
        'table',
        { class: 'article' },
        h('caption', { class: 'sr' }, caption),
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, 'Allocator'),
            columnHead('Throughput', scales.throughput.unit, 'higher', shortSource(widest)),
            h('th', { scope: 'col' }, `Against ${clip(reference, 30)}`),
            columnHead(
              'Fragmentation overhead',
              '% of heap',
              'lower',
              shortSource(sources.fragmentation),
            ),
            sources.scaling &&
              columnHead(
                'Scaling',
                `× ${first.threads} → ${widest.threads} threads`,
                'higher',
                `ideal ${times(widest.threads / first.threads)}`,
              ),
            columnHead('Peak heap', scales.peak.unit, 'lower', shortSource(sources.peak)),
            columnHead('A/A noise', '±%', null, 'reference twice'),
            columnHead('Harness share', '% of time', 'lower', 'empty allocator'),
          ),
        ),
        body(rows.filter((r) => !r.baseline)),
        rows.some((r) => r.baseline) && body(rows.filter((r) => r.baseline)),
      ),
    ),
    h(
      'ul',
      { class: 'findings' },
      winnerSentence(
        ctx,
        widest.cells,
        'pairs_per_s',
        `throughput (${widest.workload}, ${widest.threads} threads)`,
      ),
      sources.fragmentation &&
        winnerSentence(
          ctx,
          sources.fragmentation.cells,
          'frag_total',
          `fragmentation overhead (${sources.fragmentation.workload})`,
        ),
      sources.peak &&
        winnerSentence(
          ctx,
          sources.peak.cells,
          'heap_peak_bytes',
          `peak heap (${sources.peak.workload})`,
        ),
    ),
    h(
      'p',
      { class: 'small' },
      'One pair is one malloc and one free. Small figures are 95% intervals',
      ' of the median; the interval of scaling is the widest the two medians allow. ',
      'Peak heap is what the allocator holds above the empty process.',
    ),
  );
}

// One metric of one group: bars of the values, bars of the ratios, and the table of both.
function groupBars(ctx, group, info) {
  const rows = group.cells.filter(
    (c, i) => group.axis === 'pages' || group.cells.findIndex((d) => d.subject === c.subject) === i,
  );
  const reference = rows.find((c) => c.role === 'reference');
  const refName = reference ? cellLabel(group, reference) : 'reference';
  const bar = (cell, s, ratio) => {
    const value = ratio ? (cell.role === 'reference' ? 1 : s?.ratio) : s?.value;
    return {
      label: clip(cellLabel(group, cell), 60),
      subject: cellLabel(group, cell),
      value: value ?? null,
      low: ratio ? s?.ratio_low : s?.low,
      high: ratio ? s?.ratio_high : s?.high,
      missing: cell.trials?.failed ? `failed: ${clip(cell.last_failure, 60)}` : 'no value',
    };
  };
  const words = (list, text) =>
    list.map((r) => `${r.label} ${known(r.value) ? text(r.value) : r.missing}`).join(', ');
  const values = rows.map((c) => bar(c, c.summaries?.[info.name], false));
  const ratios = rows
    .filter((c) => !isBaseline(c))
    .map((c) => bar(c, c.summaries?.[info.name], true));
  const scale = scaleFor(info.unit, largestOf(rows.map((c) => c.summaries?.[info.name])));
  const title = `${info.title}, ${scale.unit} (${arrow(info.direction)})`;
  return h(
    'div',
    { class: 'charts' },
    ctx.charts.bars({
      title,
      description: `Bar chart, ${title}: ${words(values, (v) => scale.text(v))}`,
      rows: values,
      unit: info.unit,
    }),
    ratios.filter((r) => known(r.value)).length > 1 &&
      ctx.charts.bars({
        title: `against ${clip(refName, 30)} (dashed: no difference)`,
        ratio: true,
        unit: '',
        description: `Bar chart, ratio to ${refName}: ${words(ratios, times)}`,
        rows: ratios,
      }),
  );
}

function groupTable(ctx, group, info, id) {
  const rows = group.cells;
  const reference = rows.find((c) => c.role === 'reference');
  const refName = reference ? cellLabel(group, reference) : 'reference';
  const scale = scaleFor(info.unit, largestOf(rows.map((c) => c.summaries?.[info.name])));
  const caption = `${info.title}: ${groupTitle(group)}`;
  return tableBox(
    id,
    caption,
    h(
      'table',
      {},
      h('caption', { class: 'sr' }, caption),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, group.axis === 'pages' ? 'Pages' : 'Allocator'),
          columnHead(info.title, scale.unit, info.direction),
          h('th', { scope: 'col' }, `Against ${clip(refName, 30)}`),
          columnHead('A/A noise', '±%'),
          columnHead('Harness share', '%'),
          columnHead('Repetitions', ''),
        ),
      ),
      h(
        'tbody',
        {},
        rows.map((cell) => {
          const s = cell.summaries?.[info.name];
          const label = cellLabel(group, cell);
          return h(
            'tr',
            { class: isBaseline(cell) ? 'baseline' : null },
            subjectHead({ charts: { swatch: () => ctx.charts.swatch(label) } }, label, cell),
            h(
              'td',
              { class: 'n' },
              s && known(s.value)
                ? [h('span', { class: 'value' }, scale.text(s.value)), ' ', interval(s, scale.text)]
                : cell.trials?.failed
                  ? h('span', { class: 'bad' }, clip(cell.last_failure, 120))
                  : '–',
            ),
            h(
              'td',
              {},
              isBaseline(cell)
                ? h('span', { class: 'verdict' }, 'harness cost')
                : against(cell, s, refName),
            ),
            h('td', { class: 'n' }, s && known(s.noise) ? `±${percent(s.noise, 2)}` : '–'),
            h('td', { class: 'n' }, harnessNote(s) ?? '–'),
            h('td', { class: 'n' }, integer(s?.count ?? 0)),
          );
        }),
      ),
    ),
  );
}

/** Every metric of a group in one table: what fork and copy-on-write results are read from. */
function allMetrics(ctx, group, id) {
  const names = metricsOf(group);
  const caption = `Every metric: ${groupTitle(group)}`;
  const columns = names.map((name) => {
    const info = metricInfo(ctx, name);
    return {
      name,
      info,
      scale: scaleFor(info.unit, largestOf(group.cells.map((c) => c.summaries?.[name]))),
    };
  });
  return tableBox(
    id,
    caption,
    h(
      'table',
      {},
      h('caption', { class: 'sr' }, caption),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, group.axis === 'pages' ? 'Pages' : 'Allocator'),
          columns.map(({ info, scale }) =>
            h(
              'th',
              { scope: 'col', class: 'n', title: info.help },
              info.title,
              h('span', { class: 'unit' }, scale.unit),
              h('span', { class: 'dir' }, arrow(info.direction)),
            ),
          ),
        ),
      ),
      h(
        'tbody',
        {},
        group.cells.map((cell) =>
          h(
            'tr',
            {},
            subjectHead(
              { charts: { swatch: () => ctx.charts.swatch(cellLabel(group, cell)) } },
              cellLabel(group, cell),
              cell,
            ),
            columns.map(({ name, scale }) => {
              const s = cell.summaries?.[name];
              return h(
                'td',
                { class: 'n' },
                s && known(s.value)
                  ? [
                      h('span', { class: 'value' }, scale.text(s.value)),
                      ' ',
                      interval(s, scale.text),
                    ]
                  : '–',
              );
            }),
          ),
        ),
      ),
    ),
  );
}

function chooser(id, text, options, value, change) {
  return (
    options.length > 1 &&
    h(
      'label',
      { class: 'inline' },
      `${text} `,
      h(
        'select',
        { id, onchange: (e) => change(e.target.value) },
        options.map(([v, t]) => h('option', { value: v, selected: v === value }, t)),
      ),
    )
  );
}

function scalingFigure(ctx, family, metric, view) {
  const info = metricInfo(ctx, metric);
  if (info.direction !== 'higher') return null;
  const lines = scaling(family, metric).filter((s) => !isBaseline(s.cell));
  if (!lines.length) return null;
  const words = lines.map((s) => `${s.subject} ${times(s.points.at(-1).value)}`).join(', ');
  const last = lines[0].points.at(-1);
  return ctx.charts.scalingLines({
    title: `Scaling: ${info.title} over its value at ${family[0].threads} thread${
      family[0].threads === 1 ? '' : 's'
    } (↑ higher is better)`,
    description: `Line chart of scaling at ${last.threads} threads: ${words}; ideal ${times(last.ideal)}`,
    series: lines,
    hidden: view.hidden,
  });
}

function familySection(ctx, family, index, view, changed) {
  const key = familyKey(family[0]);
  const chosen = view.families.get(key) ?? {};
  view.families.set(key, chosen);
  const group =
    family.find((g) => String(g.threads) === chosen.threads) ?? family[family.length - 1];
  const metrics = metricsOf(group);
  const head = h(
    'h2',
    { id: `family-${index}` },
    bdi([group.workload, group.params_key].filter(Boolean).join(' · ')),
  );
  const failed = group.cells.filter(
    (c) => c.trials?.failed && !Object.keys(c.summaries ?? {}).length,
  );
  if (!metrics.length)
    return h(
      'section',
      { class: 'card', 'aria-labelledby': `family-${index}` },
      head,
      h('p', {}, failed.length ? 'Every cell failed; see Failures below.' : 'No values yet.'),
    );
  const metric = metrics.includes(chosen.metric) ? chosen.metric : metrics[0];
  const info = metricInfo(ctx, metric);
  const pick = (name) => (value) => {
    chosen[name] = value;
    changed();
  };
  const line = scalingFigure(ctx, family, metric, view);
  const summary = ctx.workloads.get(group.workload)?.summary;
  const oneTable = group.axis === 'pages' || !metrics.includes('pairs_per_s');
  return h(
    'section',
    { class: 'card', 'aria-labelledby': `family-${index}` },
    h(
      'div',
      { class: 'title' },
      head,
      h(
        'div',
        { class: 'choosers' },
        chooser(
          `metric-${index}`,
          'Metric',
          metrics.map((m) => [m, m.replaceAll('_', ' ')]),
          metric,
          pick('metric'),
        ),
        chooser(
          `threads-${index}`,
          'Threads',
          family.map((g) => [String(g.threads), String(g.threads)]),
          String(group.threads),
          pick('threads'),
        ),
      ),
    ),
    summary && h('p', { class: 'lead' }, summary),
    h(
      'p',
      { class: 'small' },
      `${group.threads} thread${group.threads === 1 ? '' : 's'}`,
      group.axis === 'pages' ? ', one bar per page mode' : `, pages ${group.pages}`,
      info.help ? ` · ${info.help}` : '',
    ),
    groupBars(ctx, group, info),
    line && h('div', { class: 'charts wide' }, line),
    groupTable(ctx, group, info, `table-${index}`),
    h(
      'details',
      { id: `all-${index}`, open: oneTable },
      h('summary', {}, `All ${metrics.length} metrics`),
      allMetrics(ctx, group, `all-table-${index}`),
    ),
  );
}

/** Everything of /results. view: {article, families: Map, hidden: Set}, kept by the page. */
export function resultSections(ctx, groups, view, changed) {
  return [
    article(ctx, groups, view, changed),
    ...families(groups).map((f, i) => familySection(ctx, f, i, view, changed)),
  ];
}
