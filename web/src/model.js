// From the job's results to what the pages show: the article's table, verdict words, scaling.
// Pure; tested by tests/browser/unit.test.mjs.

import { clip } from './format.js';

export const BASELINES = ['null', 'bump', 'lifo'];

const PREFERRED = ['pairs_per_s', 'ns_per_pair', 'ns_per_access', 'cow_ns_per_write', 'fork_ns'];

/** Null, bump and lifo stand for the harness; where page modes are compared they only carry. */
export const isBaseline = (cell, group = null) =>
  group?.axis !== 'pages' && BASELINES.includes(cell.allocator);

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

/** Names of the metrics some cell of the group has, first the one its chart opens with. */
export function metricsOf(group) {
  const seen = new Map();
  for (const cell of group.cells)
    for (const [name, s] of Object.entries(cell.summaries ?? {}))
      if (!seen.has(name) && s) seen.set(name, s.direction);
  const rank = (name) => {
    const at = PREFERRED.indexOf(name);
    return at >= 0 ? at : seen.get(name) === 'neutral' ? 100 : 50;
  };
  return [...seen.keys()]
    .map((name, at) => [rank(name), at, name])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1])
    .map((row) => row[2]);
}

const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

/**
 * A subject against its reference, in a word.
 * "reference", "none" (no ratio), "same" (the interval holds 1), "better" or "worse",
 * "higher" or "lower" for a metric that has no good direction.
 */
export function verdict(cell, summary) {
  if (cell.role === 'reference') return 'reference';
  if (!summary || !known(summary.ratio)) return 'none';
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

/** Do two intervals overlap? Without an interval nothing can be told apart: true. */
export function overlap(a, b) {
  if (!a || !b || ![a.low, a.high, b.low, b.high].every(known)) return true;
  return a.low <= b.high && b.low <= a.high;
}

/**
 * Best subjects of a metric over measured cells, baselines left out: those whose interval
 * overlaps that of the best value. More than one means no winner can be named.
 */
export function leaders(cells, metric) {
  const rows = cells.filter((c) => !isBaseline(c) && known(c.summaries?.[metric]?.value));
  if (!rows.length) return [];
  const direction = rows[0].summaries[metric].direction;
  if (direction !== 'higher' && direction !== 'lower') return [];
  const sign = direction === 'higher' ? -1 : 1;
  const sorted = [...rows].sort(
    (a, b) => sign * (a.summaries[metric].value - b.summaries[metric].value),
  );
  const top = sorted[0];
  return sorted.filter((c) => c === top || overlap(c.summaries[metric], top.summaries[metric]));
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
        low:
          p === base
            ? 1
            : known(p.s.low) && known(base.s.high) && base.s.high > 0
              ? p.s.low / base.s.high
              : null,
        high:
          p === base
            ? 1
            : known(p.s.high) && known(base.s.low) && base.s.low > 0
              ? p.s.high / base.s.low
              : null,
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

/** The group that answers for a metric: the chosen family's widest, else the first that has it. */
function sourceOf(groups, family, metric) {
  const has = (g) => g.axis !== 'pages' && g.cells.some((c) => known(c.summaries?.[metric]?.value));
  return [...family].reverse().find(has) ?? [...groups].reverse().find(has) ?? null;
}

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
  for (const [column, metric] of COLUMN_METRICS) sources[column] = sourceOf(groups, family, metric);
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
