// The results workload by workload: bars of values and of ratios, scaling lines, tables.

import { bdi, h, tableBox } from '../dom.js';
import { clip, integer, scaleFor, times } from '../format.js';
import {
  cellLabel,
  families,
  familyKey,
  groupTitle,
  isBaseline,
  metricsOf,
  scaling,
  trusted,
} from '../model.js';
import { article } from './article.js';
import {
  against,
  arrow,
  chooser,
  columnHead,
  HARNESS_HELP,
  harnessShare,
  known,
  largestOf,
  metricInfo,
  metricTitle,
  noiseText,
  subjectHead,
  threadsText,
  reasonOf,
  aloneNote,
  unsteadyNote,
  valueCell,
} from './cells.js';

/** Cells of a group once each: the reference's second copy measures noise, not a result. */
const distinct = (group) =>
  group.cells.filter(
    (c, i) => group.cells.findIndex((d) => cellLabel(group, d) === cellLabel(group, c)) === i,
  );

function referenceName(group) {
  const cell = group.cells.find((c) => c.role === 'reference');
  return cell ? cellLabel(group, cell) : 'reference';
}

function bar(group, cell, name, ratio) {
  const s = cell.summaries?.[name];
  const value = ratio && cell.role === 'reference' ? 1 : ratio ? s?.ratio : s?.value;
  const bounded = trusted(s) && !(ratio && cell.role === 'reference');
  return {
    label: clip(cellLabel(group, cell), 60),
    subject: cellLabel(group, cell),
    value: value ?? null,
    low: bounded ? (ratio ? s?.ratio_low : s?.low) : null,
    high: bounded ? (ratio ? s?.ratio_high : s?.high) : null,
    missing: cell.trials?.failed
      ? `failed: ${clip(cell.last_failure, 50)}`
      : clip(reasonOf(s), 60) || 'no value',
  };
}

const inWords = (rows, text) =>
  rows.map((r) => `${r.label} ${known(r.value) ? text(r.value) : r.missing}`).join(', ');

/** Bars of one metric and, beside them, of the ratio to the reference. */
function groupBars(ctx, group, info) {
  const cells = distinct(group).filter((c) => !isBaseline(c, group));
  const values = cells.map((c) => bar(group, c, info.name, false));
  const ratios = cells.map((c) => bar(group, c, info.name, true));
  const scale = scaleFor(info.unit, largestOf(cells.map((c) => c.summaries?.[info.name])));
  const title = `${info.title}, ${scale.unit} (${arrow(info.direction)})`;
  const reference = clip(referenceName(group), 30);
  const compared = ratios.filter((r) => known(r.value)).length > 1;
  return [
    ctx.charts.bars({
      title,
      rows: values,
      unit: info.unit,
      description: `Bar chart, ${title}: ${inWords(values, scale.text)}`,
    }),
    compared &&
      ctx.charts.bars({
        title: `${info.title} against ${reference} (dashed: the same)`,
        rows: ratios,
        unit: '',
        ratio: true,
        description: `Bar chart, ratio to ${reference}: ${inWords(ratios, times)}`,
      }),
  ];
}

function scalingFigure(ctx, family, info, view) {
  if (info.direction !== 'higher') return null;
  const series = scaling(family, info.name).filter((s) => !isBaseline(s.cell));
  if (!series.length) return null;
  const last = series[0].points.at(-1);
  const words = series.map((s) => `${s.subject} ${times(s.points.at(-1).value)}`).join(', ');
  return ctx.charts.scalingLines({
    title: `Scaling from ${threadsText(family[0].threads)} (↑ higher is better)`,
    description: `Line chart of scaling at ${threadsText(last.threads)}: ${words}; ideal ${times(
      last.ideal,
    )}`,
    series,
    hidden: view.hidden,
  });
}

const rowHead = (ctx, group, cell) => subjectHead(ctx, cellLabel(group, cell), cell.trials);

const rowClass = (group, cell) => ({ class: isBaseline(cell, group) ? 'baseline' : null });

function comparisonRow(ctx, group, cell, info, scale, reference) {
  const s = cell.summaries?.[info.name];
  const failed = !s && cell.trials?.failed;
  const why = s && !known(s.value) ? reasonOf(s) : '';
  return h(
    'tr',
    rowClass(group, cell),
    rowHead(ctx, group, cell),
    failed
      ? h('td', { class: 'bad why', colspan: '4' }, bdi(clip(cell.last_failure, 200)))
      : why
        ? h('td', { class: 'why', colspan: '4' }, 'no value: ', bdi(why))
        : [
            valueCell(s, scale.text),
            h('td', {}, against(cell, s, reference, group)),
            h('td', { class: 'n' }, noiseText(s)),
            h('td', { class: 'n' }, harnessShare(s, cell)),
          ],
    h('td', { class: 'n' }, integer(s?.count ?? 0)),
  );
}

/** One metric of a group with verdict, noise and share of the harness. */
function comparisonTable(ctx, group, info, id) {
  const cells = distinct(group);
  const real = cells.filter((c) => !isBaseline(c, group));
  const scale = scaleFor(info.unit, largestOf(real.map((c) => c.summaries?.[info.name])));
  const reference = referenceName(group);
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
          columnHead(info.title, { unit: scale.unit, direction: info.direction }),
          h('th', { scope: 'col' }, `Against ${clip(reference, 30)}`),
          columnHead('A/A noise', { unit: '±%' }),
          columnHead('Harness share', { unit: 'at most, %', help: HARNESS_HELP }),
          columnHead('Repetitions'),
        ),
      ),
      h(
        'tbody',
        {},
        cells.map((c) => comparisonRow(ctx, group, c, info, scale, reference)),
      ),
    ),
  );
}

/** Every metric of a group in one table: what fork and copy on write are read from. */
function metricsTable(ctx, group, names, id) {
  const cells = distinct(group);
  const columns = names.map((name) => {
    const info = metricInfo(ctx, name);
    return { info, scale: scaleFor(info.unit, largestOf(cells.map((c) => c.summaries?.[name]))) };
  });
  const caption = `Every metric: ${groupTitle(group)}`;
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
            columnHead(info.title, {
              unit: scale.unit,
              direction: info.direction,
              help: info.help,
            }),
          ),
        ),
      ),
      h(
        'tbody',
        {},
        cells.map((c) =>
          h(
            'tr',
            rowClass(group, c),
            rowHead(ctx, group, c),
            columns.map(({ info, scale }) => valueCell(c.summaries?.[info.name], scale.text)),
          ),
        ),
      ),
    ),
  );
}

function familyHead(family, group, metrics, metric, index, pick) {
  const { workload, params_key: key } = group;
  return h(
    'div',
    { class: 'title' },
    h('h2', { id: `family-${index}` }, bdi(clip([workload, key].filter(Boolean).join(' · '), 120))),
    h(
      'div',
      { class: 'choosers' },
      chooser(
        `metric-${index}`,
        'Metric',
        metrics.map((m) => [m, metricTitle(m)]),
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
  );
}

function familySection(ctx, family, index, view, changed) {
  const key = familyKey(family[0]);
  if (!view.families.has(key)) view.families.set(key, {});
  const chosen = view.families.get(key);
  const pick = (name) => (value) => {
    chosen[name] = value;
    changed();
  };
  const group = family.find((g) => String(g.threads) === chosen.threads) ?? family.at(-1);
  const metrics = metricsOf(group);
  const metric = metrics.includes(chosen.metric) ? chosen.metric : metrics[0];
  const section = (...parts) =>
    h(
      'section',
      { class: 'card', 'aria-labelledby': `family-${index}` },
      familyHead(family, group, metrics, metric, index, pick),
      parts,
    );
  if (!metrics.length) {
    const failed = group.cells.some((c) => c.trials?.failed);
    return section(
      h('p', {}, failed ? 'No cell has a value; see Failures below.' : 'No values yet.'),
    );
  }
  const info = metricInfo(ctx, metric);
  const measured = group.cells.some((c) => known(c.summaries?.[metric]?.value));
  // Where there is no throughput (pages, fork) the metrics belong side by side.
  const together = group.axis === 'pages' || !metrics.includes('pairs_per_s');
  const where = group.axis === 'pages' ? 'a bar for each page mode' : `pages ${group.pages}`;
  return section(
    h('p', { class: 'lead' }, ctx.workloads.get(group.workload)?.summary ?? ''),
    h('p', { class: 'small' }, `${threadsText(group.threads)}, ${where}. ${info.help}`),
    h(
      'div',
      { class: 'charts' },
      measured && groupBars(ctx, group, info),
      scalingFigure(ctx, family, info, view),
    ),
    h(
      'details',
      { id: `numbers-${index}`, open: group.axis === 'pages' || !measured },
      h('summary', {}, `Numbers: ${info.title}`),
      comparisonTable(ctx, group, info, `table-${index}`),
    ),
    h(
      'details',
      { id: `all-${index}`, open: together && group.axis !== 'pages' },
      h('summary', {}, `All ${metrics.length} metrics`),
      metricsTable(ctx, group, metrics, `all-table-${index}`),
    ),
    unsteadyNote(group.cells.flatMap((c) => Object.values(c.summaries ?? {}))),
    aloneNote(group.cells),
  );
}

/** Everything of /results. view: {article, families: Map, hidden: Set}, kept by the page. */
export function resultSections(ctx, groups, view, changed) {
  return [
    article(ctx, groups, view, changed),
    ...families(groups).map((f, i) => familySection(ctx, f, i, view, changed)),
  ];
}
