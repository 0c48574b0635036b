// The article's table: allocators side by side, and in words who leads or that nobody does.

import { bdi, h, tableBox } from '../dom.js';
import { clip, percent, scaleFor, times } from '../format.js';
import { articleTable, familyKey, groupTitle, leaders, sourceText } from '../model.js';
import {
  against,
  chooser,
  columnHead,
  HARNESS_HELP,
  harnessShare,
  largestOf,
  meterCell,
  noiseText,
  subjectHead,
  unsteadyNote,
  valueCell,
} from './cells.js';

function row(ctx, line, table, scales) {
  const { cell, throughput } = line;
  const { widest } = table;
  const colour = ctx.charts.colourOf(line.subject);
  return h(
    'tr',
    { class: line.baseline ? 'baseline' : null },
    subjectHead(ctx, line.subject, cell.trials),
    meterCell(throughput, scales.throughput.text, scales.throughputMax, colour),
    h('td', {}, against(cell, throughput, scales.reference, widest)),
    valueCell(line.fragmentation, percent),
    table.sources.scaling ? valueCell(line.scaling, times) : null,
    valueCell(line.peak, scales.peak.text),
    h('td', { class: 'n' }, noiseText(throughput)),
    h('td', { class: 'n' }, line.baseline ? '–' : harnessShare(throughput, cell)),
  );
}

const nameList = (cells) =>
  cells.flatMap((c, i) => [
    i === 0 ? '' : i === cells.length - 1 ? ' and ' : ', ',
    bdi(clip(c.subject, 40)),
  ]);

/** "A leads in X.", "A, B and C: no difference between them in X", or why nobody is named. */
function finding(cells, metric, what) {
  const { best, unsure } = leaders(cells, metric);
  if (unsure.length)
    return h('li', {}, `Nobody is named in ${what}: too few values of `, nameList(unsure), '.');
  if (!best.length) return null;
  return h(
    'li',
    {},
    h('strong', {}, nameList(best)),
    best.length === 1
      ? ` leads in ${what}.`
      : `: no difference between them in ${what}, their ratios’ intervals overlap.`,
  );
}

function heads(table, scales) {
  const { sources, widest, family } = table;
  const first = family[0];
  return h(
    'tr',
    {},
    h('th', { scope: 'col' }, 'Allocator'),
    columnHead('Throughput', {
      unit: scales.throughput.unit,
      direction: 'higher',
      source: sourceText(widest),
    }),
    h('th', { scope: 'col' }, `Against ${clip(scales.reference, 30)}`),
    columnHead('Fragmentation overhead', {
      unit: '% of the heap',
      direction: 'lower',
      source: sourceText(sources.fragmentation),
    }),
    sources.scaling &&
      columnHead('Scaling', {
        unit: `× from ${first.threads} to ${widest.threads} threads`,
        direction: 'higher',
        source: `ideal ${times(widest.threads / first.threads)}`,
      }),
    columnHead('Peak heap', {
      unit: scales.peak.unit,
      direction: 'lower',
      source: sourceText(sources.peak),
      help: 'The most memory at any time above what the same process holds with an empty heap.',
    }),
    columnHead('A/A noise', { unit: '±%', source: 'reference twice' }),
    columnHead('Harness share', {
      unit: 'at most, %',
      source: 'null allocator',
      help: HARNESS_HELP,
    }),
  );
}

function findings(table) {
  const { sources, widest } = table;
  return h(
    'ul',
    { class: 'findings' },
    finding(widest.cells, 'pairs_per_s', `throughput (${sourceText(widest)})`),
    sources.fragmentation &&
      finding(
        sources.fragmentation.cells,
        'frag_total',
        `fragmentation overhead (${sourceText(sources.fragmentation)})`,
      ),
    sources.peak &&
      finding(sources.peak.cells, 'heap_peak_bytes', `peak heap (${sourceText(sources.peak)})`),
  );
}

const familyTitle = (f) => [f.workload, f.params_key, f.pages].filter(Boolean).join(' · ');

/** The table's section, or null when no workload has a throughput. */
export function article(ctx, groups, view, changed) {
  const table = articleTable(groups, view.article);
  if (!table) return null;
  const { rows, widest } = table;
  // The harness's own rate is many times any allocator's: it does not set the scale.
  const real = rows.filter((r) => !r.baseline);
  const throughputMax = largestOf((real.length ? real : rows).map((r) => r.throughput));
  const scales = {
    reference: widest.cells.find((c) => c.role === 'reference')?.subject ?? 'the reference',
    throughputMax,
    throughput: scaleFor('pairs/s', throughputMax),
    peak: scaleFor('bytes', largestOf(rows.map((r) => r.peak))),
  };
  const caption = `Allocators side by side: ${groupTitle(widest)}`;
  const body = (list) =>
    list.length > 0 &&
    h(
      'tbody',
      {},
      list.map((r) => row(ctx, r, table, scales)),
    );
  return h(
    'section',
    { class: 'card', 'aria-labelledby': 'article-title' },
    h(
      'div',
      { class: 'title' },
      h('h2', { id: 'article-title' }, 'Allocators side by side'),
      chooser(
        'article-workload',
        'Throughput and scaling from',
        table.choices.map((f) => [familyKey(f[0]), familyTitle(f[0])]),
        familyKey(table.family[0]),
        (value) => {
          view.article = value;
          changed();
        },
      ),
    ),
    tableBox(
      'article',
      caption,
      h(
        'table',
        { class: 'article' },
        h('caption', { class: 'sr' }, caption),
        h('thead', {}, heads(table, scales)),
        body(real),
        body(rows.filter((r) => r.baseline)),
      ),
    ),
    findings(table),
    unsteadyNote(rows.flatMap((r) => [r.fragmentation, r.peak])),
    h(
      'p',
      { class: 'small' },
      'One pair is one malloc and one free. Small figures are 95% ',
      'intervals, or the number of values (n) where they are too few for one; that of scaling is ',
      'the widest its two values allow. Peak heap is the most memory at any time above what the ',
      'same process holds with an empty heap, not the whole RSS. Harness share is an upper bound.',
    ),
  );
}
