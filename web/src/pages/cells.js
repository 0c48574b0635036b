// Table parts the results share: values with intervals, verdicts, headings.

import { bdi, h } from '../dom.js';
import { clip, integer, number, percent, times } from '../format.js';
import { intervalText, isBaseline, trusted, verdict, verdictWords } from '../model.js';

export const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

export const arrow = (direction) =>
  ({ higher: '↑ higher is better', lower: '↓ lower is better' })[direction] ?? 'for context';

export const threadsText = (n) => `${integer(n)} thread${n === 1 ? '' : 's'}`;

/** "heap_peak_bytes" → "heap peak": the unit stands beside it, in the scale shown. */
export const metricTitle = (name) => name.replace(/_(ns|us|bytes)$/, '').replaceAll('_', ' ');

/** What the API's metric rows say of a metric. */
export function metricInfo(ctx, name) {
  const row = ctx.metrics.get(name);
  return {
    name,
    title: metricTitle(name),
    help: row?.help ?? '',
    unit: row?.unit ?? '',
    direction: row?.direction ?? 'neutral',
  };
}

/** The largest value or bound, for a common scale. */
export const largestOf = (summaries) =>
  Math.max(0, ...summaries.flatMap((s) => (s ? [s.value, s.high] : [])).filter(known));

export function interval(s, text) {
  const words = intervalText(s, text);
  return words ? h('span', { class: 'interval' }, words) : null;
}

/** Why there is no value, or why it is not of the steady state; '' where nothing is to be said. */
export const reasonOf = (s) => clip(s?.reason ?? '', 200);

/** The mark of a value that is not steady; its footnote is unsteadyNote(). */
const unsteadyMark = (s) =>
  s.steady === false &&
  h(
    'span',
    { class: 'unsteady', title: reasonOf(s) },
    h('span', { 'aria-hidden': 'true' }, '‡'),
    h('span', { class: 'sr' }, ' (not steady)'),
  );

/** A footnote for the marks of these summaries, or null where there is none. */
export function unsteadyNote(summaries) {
  const marked = summaries.find((s) => s?.steady === false && known(s.value));
  return marked ? h('p', { class: 'small' }, '‡ ', bdi(reasonOf(marked)), '.') : null;
}

/** Which cells were measured apart from their rings, and why; null where none was. */
export function aloneNote(cells) {
  const alone = cells.filter((c) =>
    Object.values(c.summaries ?? {}).some((s) => s?.measured === 'solo'),
  );
  // The reference stands in every ring, so it takes its whole group along.
  const reference = alone.find((c) => c.role === 'reference');
  const told = (reference ? [reference] : alone).map((c) => {
    const share = c.summaries.cpu_outside_ratio?.value;
    return `${clip(c.subject ?? c.allocator ?? '', 60)}${
      known(share) ? ` (${(100 * share).toFixed(1)} %)` : ''
    }`;
  });
  return told.length
    ? h(
        'p',
        { class: 'small alone' },
        'Uses CPU outside its turns, measured alone: ',
        bdi(told.join(', ')),
        reference ? ', and with it the whole group.' : '.',
      )
    : null;
}

export function valueCell(s, text) {
  if (!s || !known(s.value)) {
    const why = reasonOf(s);
    return h(
      'td',
      { class: 'n', title: why || null },
      '–',
      why && h('span', { class: 'sr' }, ` (${why})`),
    );
  }
  return h(
    'td',
    { class: 'n' },
    h('span', { class: 'value' }, text(s.value)),
    unsteadyMark(s),
    ' ',
    interval(s, text),
  );
}

/** A value with its interval as text and as a thin bar on the column's common scale. */
export function meterCell(s, text, largest, colour) {
  const cell = valueCell(s, text);
  if (!s || !known(s.value) || !(largest > 0) || s.value < 0 || s.value > largest) return cell;
  const track = h('span', { class: 'meter', 'aria-hidden': 'true' });
  const part = (cls, from, to) => {
    const bar = h('span', { class: cls });
    bar.style.left = `${(100 * from) / largest}%`;
    bar.style.width = `${Math.max(0.6, (100 * (to - from)) / largest)}%`;
    track.append(bar);
    return bar;
  };
  part('meter-value', 0, s.value).style.background = colour;
  if (trusted(s) && known(s.low) && known(s.high)) part('meter-range', Math.max(0, s.low), s.high);
  cell.append(track);
  return cell;
}

/** Against the reference: ratio with interval and direction, or that there is no difference. */
export function against(cell, s, reference, group) {
  if (isBaseline(cell, group)) return h('span', { class: 'verdict' }, 'harness cost');
  const word = verdict(cell, s);
  if (word === 'reference' || word === 'none')
    return h('span', { class: 'verdict' }, verdictWords(word, reference));
  const range = h('span', { class: 'interval' }, `${times(s.ratio_low)} – ${times(s.ratio_high)}`);
  const name = clip(reference, 30);
  if (word === 'same') return h('span', { class: 'verdict' }, `no difference from ${name} `, range);
  const mark = { better: '▲', worse: '▼' }[word] ?? '•';
  return h(
    'span',
    { class: `verdict ${word}` },
    h('span', { 'aria-hidden': 'true' }, `${mark} `),
    `${times(s.ratio)} ${name} `,
    h('span', { class: 'sr' }, `, ${word}, `),
    range,
  );
}

export const noiseText = (s) => (s && known(s.noise) ? `±${percent(s.noise, 2)}` : '–');

export const HARNESS_HELP =
  'An upper bound of the share of the time that is the harness: what a pair takes with the null ' +
  'allocator over what it takes here. The processor overlaps the two, so the true share is lower.';

/** The share with what is left without it as its title; `cell` is whose. */
export function harnessShare(s, cell) {
  if (!s || (!s.harness_bound && !known(s.null_share))) return '–';
  const share = known(s.null_share) ? percent(s.null_share, 2) : '';
  const net = cell?.summaries?.ns_per_pair?.net;
  const rest = known(net) ? `Net of it a pair takes ${number(net)} ns at least.` : '';
  if (!s.harness_bound) return rest ? h('span', { title: rest }, share) : share;
  const title =
    'More than half of the time may be the harness: the allocator can be faster than this shows. ' +
    rest;
  return h('span', { class: 'tag warn', title: title.trim() }, `harness-bound ${share}`);
}

export function subjectHead(ctx, label, trials) {
  const failed = trials?.failed
    ? h('span', { class: 'tag bad' }, `${integer(trials.failed)} failed`)
    : null;
  return h(
    'th',
    { scope: 'row', class: 'subject' },
    ctx.charts.swatch(label),
    bdi(clip(label, 60)),
    failed,
  );
}

export function columnHead(name, { unit = '', direction = '', source = '', help = '' } = {}) {
  const line = (cls, text) => (text ? h('span', { class: cls }, text) : null);
  return h(
    'th',
    { scope: 'col', class: 'n', title: help || null },
    name,
    line('unit', unit),
    line('dir', direction && arrow(direction)),
    line('src', source),
  );
}

/** A labelled choice, only where there is one. options: [value, text]. */
export function chooser(id, text, options, value, change) {
  if (options.length < 2) return null;
  const list = options.map(([v, t]) =>
    h('option', { value: v, selected: v === value }, clip(t, 60)),
  );
  return h(
    'label',
    { class: 'inline' },
    `${text} `,
    h('select', { id, onchange: (e) => change(e.target.value) }, list),
  );
}
