// From the job's results to what the pages show: the article's table, verdict words, scaling.
// Pure; tested by tests/browser/unit.test.mjs.

import { clip } from './format.js';

const PREFERRED = ['pairs_per_s', 'ns_per_pair', 'ns_per_access', 'cow_ns_per_write', 'fork_ns'];

/** The groups with each cell's kind ("allocator", "classic", "baseline") from /allocators. */
export function withKinds(groups, allocators) {
  const kinds = new Map(allocators.map((a) => [a.name, a.kind]));
  return groups.map((g) => ({
    ...g,
    cells: g.cells.map((c) => ({ ...c, kind: kinds.get(c.allocator) ?? 'allocator' })),
  }));
}

/** Baselines stand for the harness; where page modes are compared they only carry. */
export const isBaseline = (cell, group = null) =>
  group?.axis !== 'pages' && cell.kind === 'baseline';

export const groupTitle = (group) =>
  clip(
    [
      group.workload,
      group.params_key,
      `${group.threads} ${group.threads === 1 ? 'thread' : 'threads'}`,
      group.axis === 'pages' ? '' : group.pages,
    ]
      .filter(Boolean)
      .join(' · '),
    160,
  );

/** What a cell is called within its group: the page mode where that is what varies. */
export const cellLabel = (group, cell) => (group.axis === 'pages' ? cell.pages : cell.subject);

const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

/** Is this a metric without a value, with the reason for it? */
const saysWhyNot = (s) => !known(s.value) && Boolean(s.reason);

/** Names of the metrics some cell of the group has, first the one its chart opens with. */
export function metricsOf(group) {
  const seen = new Map();
  for (const cell of group.cells)
    for (const [name, s] of Object.entries(cell.summaries ?? {}))
      if (s && (!seen.has(name) || !saysWhyNot(s))) seen.set(name, !saysWhyNot(s) && s.direction);
  const rank = (name) => {
    if (seen.get(name) === false) return 200; // only reasons why there is no value
    const at = PREFERRED.indexOf(name);
    return at >= 0 ? at : seen.get(name) === 'neutral' ? 100 : 50;
  };
  return [...seen.keys()]
    .map((name, at) => [rank(name), at, name])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
    .map((row) => row[2]);
}

const COUNT_MIN = 6; // below, the interval of a median is little more than the range
const CONFIDENCE_MIN = 0.9;

/** May the summary's intervals be shown and judged as what they are named, 95%? */
export const trusted = (s) =>
  known(s?.count) && s.count >= COUNT_MIN && known(s.confidence) && s.confidence >= CONFIDENCE_MIN;

/** An interval in words: "a – b", "n=3" where the values are too few for one, or nothing. */
export function intervalText(s, text) {
  // A point of scaling has no count of its own: its bounds are null if they may not be shown.
  if (known(s?.count) && !trusted(s)) return `n=${s.count}`;
  return known(s?.low) && known(s?.high) ? `${text(s.low)} – ${text(s.high)}` : '';
}

/**
 * A subject against its reference, in a word.
 * "reference", "none" (no ratio, or too few values for one to be judged), "same" (the interval
 * holds 1), "better" or "worse",
 * "higher" or "lower" for a metric that has no good direction.
 */
export function verdict(cell, summary) {
  if (cell.role === 'reference') return 'reference';
  if (!summary || !known(summary.ratio)) return 'none';
  if (!trusted(summary)) return 'none';
  if (!known(summary.ratio_low) || !known(summary.ratio_high)) return 'none';
  if (summary.ratio_low <= 1 && summary.ratio_high >= 1) return 'same';
  const up = summary.ratio_low > 1;
  if (summary.direction === 'higher') return up ? 'better' : 'worse';
  if (summary.direction === 'lower') return up ? 'worse' : 'better';
  return up ? 'higher' : 'lower';
}

export function verdictWords(word, reference) {
  return {
    reference: 'reference',
    none: 'not compared',
    same: `no difference from ${reference}`,
    better: `better than ${reference}`,
    worse: `worse than ${reference}`,
    higher: `higher than ${reference}`,
    lower: `lower than ${reference}`,
  }[word];
}

/**
 * Who is best in a metric, as the API says of each cell. best: the leader, or all that cannot be
 * told from it. unsure: subjects that may not be judged; while there is one, `best` is empty.
 */
export function leaders(cells, metric) {
  const of = (...standings) =>
    cells.filter((c) => standings.includes(c.summaries?.[metric]?.standing));
  const unsure = of('unsure');
  return { best: unsure.length ? [] : of('best', 'tied'), unsure };
}

/** Same workload, parameters and pages, whatever the threads. */
export const familyKey = (group) => JSON.stringify([group.workload, group.params_key, group.pages]);

/** Groups that differ in threads only, each family ascending; families in order of appearance. */
export function families(groups) {
  const map = new Map();
  for (const group of groups) {
    const key = familyKey(group);
    if (!map.has(key)) map.set(key, []);
    map.get(key).push(group);
  }
  for (const list of map.values()) list.sort((a, b) => a.threads - b.threads);
  return [...map.values()];
}

/** Bounds of a point of scaling: none from values too few for an interval. */
function scalingRange(point, base) {
  if (point === base) return { low: 1, high: 1 };
  if (!trusted(point.s) || !trusted(base.s)) return { low: null, high: null };
  const by = (bound, other) => (known(bound) && known(other) && other > 0 ? bound / other : null);
  return { low: by(point.s.low, base.s.high), high: by(point.s.high, base.s.low) };
}

/**
 * Scaling of each subject over a family, relative to its own value at the fewest threads:
 * [{subject, points: [{threads, value, low, high, ideal}]}]. The interval is the widest the two
 * medians allow (low/high0 … high/low0): conservative, said so beside the chart.
 */
export function scaling(family, metric = 'pairs_per_s') {
  const subjects = new Map();
  for (const group of family)
    for (const cell of group.cells) {
      const s = cell.summaries?.[metric];
      if (!s || !known(s.value) || s.value <= 0) continue;
      if (!subjects.has(cell.subject)) subjects.set(cell.subject, []);
      const list = subjects.get(cell.subject);
      // The reference stands twice in a ring; its first cell speaks for it.
      if (!list.some((p) => p.threads === group.threads))
        list.push({ threads: group.threads, s, cell });
    }
  const out = [];
  for (const [subject, list] of subjects) {
    list.sort((a, b) => a.threads - b.threads);
    const base = list[0];
    if (list.length < 2 || base.threads !== family[0].threads) continue;
    out.push({
      subject,
      cell: base.cell,
      points: list.map((p) => ({
        threads: p.threads,
        value: p.s.value / base.s.value,
        ...scalingRange(p, base),
        ideal: p.threads / base.threads,
      })),
    });
  }
  return out;
}

/** The family whose throughput the article's table shows, by workload name; null if none. */
export function articleFamilies(groups) {
  return families(groups).filter(
    (family) =>
      family[0].axis !== 'pages' &&
      family.some((g) => g.cells.some((c) => known(c.summaries?.pairs_per_s?.value))),
  );
}

const COLUMN_METRICS = [
  ['fragmentation', 'frag_total'],
  ['peak', 'heap_peak_bytes'],
];

/**
 * How well a group answers for the heap's shape, smaller first: table-churn, where blocks are
 * freed in another order and by other threads, before the rest; its default of one remote free
 * in a hundred before others, those before none; default parameters; most threads.
 */
function sourceRank(group) {
  const remote = Number(group.params?.remote_pct ?? NaN);
  const away = remote === 1 ? 0 : remote > 0 ? remote : Infinity;
  return [group.workload !== 'table-churn', away, Boolean(group.params_key), -group.threads];
}

function compareRanks(a, b) {
  const at = a.findIndex((x, i) => x !== b[i]);
  return at < 0 ? 0 : a[at] < b[at] ? -1 : 1;
}

/** The group that answers for a metric of the heap, or null if none has it. */
export function sourceOf(groups, metric) {
  const has = (g) => g.axis !== 'pages' && g.cells.some((c) => known(c.summaries?.[metric]?.value));
  const ranked = groups.filter(has).map((group) => ({ group, rank: sourceRank(group) }));
  return ranked.sort((a, b) => compareRanks(a.rank, b.rank))[0]?.group ?? null;
}

/** Where a column comes from: workload, threads and every parameter that is not the default. */
export const sourceText = (group) =>
  group
    ? clip(
        [group.workload, `${group.threads} ${group.threads === 1 ? 'thread' : 'threads'}`]
          .concat(group.params_key ? group.params_key.split(',') : [])
          .join(', '),
        120,
      )
    : 'not measured';

/**
 * The article's table. rows: one per subject, in the order of the results, baselines last.
 * Each row: {cell, subject, baseline, throughput, scaling, fragmentation, peak, trials}; a
 * missing value is null. `sources` names the group each column comes from.
 */
export function articleTable(groups, workload) {
  const choices = articleFamilies(groups);
  if (!choices.length) return null;
  const family =
    choices.find((f) => familyKey(f[0]) === workload) ??
    choices.find((f) => f[0].workload === 'table-cold') ??
    choices[0];
  const widest = family[family.length - 1];
  const scale = new Map(scaling(family).map((s) => [s.subject, s.points[s.points.length - 1]]));
  const sources = { throughput: widest, scaling: family.length > 1 ? family : null };
  for (const [column, metric] of COLUMN_METRICS) sources[column] = sourceOf(groups, metric);
  const rows = [];
  for (const cell of widest.cells) {
    if (rows.some((r) => r.subject === cell.subject)) continue;
    const row = {
      cell,
      subject: cell.subject,
      baseline: isBaseline(cell),
      throughput: cell.summaries?.pairs_per_s ?? null,
      scaling: scale.get(cell.subject) ?? null,
    };
    for (const [column, metric] of COLUMN_METRICS)
      row[column] =
        sources[column]?.cells.find((c) => c.subject === cell.subject)?.summaries?.[metric] ?? null;
    rows.push(row);
  }
  rows.sort((a, b) => a.baseline - b.baseline);
  return { family, widest, rows, sources, choices };
}

export const FINAL = ['succeeded', 'failed', 'cancelled', 'lost'];
export const isFinal = (state) => FINAL.includes(state);

/** 0…1 of a job's steps; failed and discarded steps are done too (their retries are added). */
export function progressShare(progress) {
  if (!progress || !(progress.steps_total > 0)) return 0;
  return Math.min(1, progress.steps_done / progress.steps_total);
}
