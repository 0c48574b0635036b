// Charts, drawn with uPlot: bars with intervals, scaling lines with the ideal. Bundled apart
// (charts.js) and loaded by the pages that draw. Every chart stands beside a table with the same
// numbers, so the canvas is one image to a screen reader, described in words.

import uPlot from 'uplot';
import { clip, number, precise, scaleFor, times } from './format.js';
import { colour, style } from './palette.js';
import { h } from './dom.js';

const BAR_HEIGHT = 30;
const charts = new Map(); // figure → draw; redrawn when size or theme changes

const cssVar = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const inks = () => ({
  ink: cssVar('--ink'),
  soft: cssVar('--soft'),
  line: cssVar('--line'),
  paper: cssVar('--card'),
  font: cssVar('--font') || 'sans-serif',
});

const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (!target.isConnected) {
      observer.unobserve(target);
      charts.delete(target);
      continue;
    }
    const chart = charts.get(target);
    const width = Math.floor(target.clientWidth);
    if (chart && width > 0 && width !== chart.width) {
      chart.width = width;
      chart.draw(width);
    }
  }
});
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const [box, chart] of charts) if (chart.width && box.isConnected) chart.draw(chart.width);
  for (const canvas of document.querySelectorAll('canvas.swatch')) paintSwatch(canvas);
});

/** A figure whose drawing follows its width. make(box, width) returns a uPlot. */
function figure(title, description, make, ...below) {
  const box = h('div', { class: 'plot', role: 'img', 'aria-label': description });
  let plot = null;
  charts.set(box, {
    width: 0,
    draw: (width) => {
      plot?.destroy();
      box.replaceChildren();
      plot = make(box, width);
    },
  });
  observer.observe(box);
  return h('figure', {}, h('figcaption', {}, title), box, ...below);
}

// A pattern as well as a colour tells subjects apart. 8 px cells, drawn at the device's density.
function fill(ctx, subject) {
  const tint = colour(subject);
  const { pattern } = style(subject);
  if (pattern === 'solid') return tint;
  const cell = document.createElement('canvas');
  const size = 8 * Math.max(1, Math.round(uPlot.pxRatio));
  cell.width = size;
  cell.height = size;
  const c = cell.getContext('2d');
  c.fillStyle = tint;
  c.globalAlpha = 0.35;
  c.fillRect(0, 0, size, size);
  c.globalAlpha = 1;
  c.strokeStyle = tint;
  c.lineWidth = size / 4;
  c.beginPath();
  if (pattern === 'dots') {
    c.arc(size / 2, size / 2, size / 4, 0, 7);
    c.fill();
  }
  const diagonal = (up) => {
    for (const at of [-size, 0, size]) {
      c.moveTo(at, up ? size : 0);
      c.lineTo(at + size, up ? 0 : size);
    }
  };
  if (pattern === 'stripes' || pattern === 'cross') diagonal(true);
  if (pattern === 'back' || pattern === 'cross') diagonal(false);
  c.stroke();
  return ctx.createPattern(cell, 'repeat');
}

function marker(ctx, kind, x, y, r) {
  ctx.beginPath();
  if (kind === 'circle') ctx.arc(x, y, r, 0, 2 * Math.PI);
  else if (kind === 'square') ctx.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
  else {
    const points = {
      triangle: [
        [0, -1.2],
        [1.1, 0.8],
        [-1.1, 0.8],
      ],
      down: [
        [0, 1.2],
        [1.1, -0.8],
        [-1.1, -0.8],
      ],
      diamond: [
        [0, -1.3],
        [1.2, 0],
        [0, 1.3],
        [-1.2, 0],
      ],
    }[kind];
    points.forEach(([dx, dy], i) =>
      i ? ctx.lineTo(x + dx * r, y + dy * r) : ctx.moveTo(x + dx * r, y + dy * r),
    );
    ctx.closePath();
  }
  ctx.fill();
}

function whisker(ctx, x0, x1, y, cap, px, ink, paper) {
  for (const [width, tint] of [
    [4 * px, paper],
    [1.6 * px, ink],
  ]) {
    ctx.strokeStyle = tint;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.moveTo(x0, y);
    ctx.lineTo(x1, y);
    ctx.moveTo(x0, y - cap);
    ctx.lineTo(x0, y + cap);
    ctx.moveTo(x1, y - cap);
    ctx.lineTo(x1, y + cap);
    ctx.stroke();
  }
}

function fitText(ctx, whole, width) {
  const text = clip(whole, 80);
  if (ctx.measureText(text).width <= width) return text;
  const chars = Array.from(text);
  while (chars.length > 1 && ctx.measureText(`${chars.join('')}…`).width > width) chars.pop();
  return `${chars.join('')}…`;
}

const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

const axisBase = (c) => ({
  stroke: c.soft,
  font: `12px ${c.font}`,
  ticks: { show: false },
  grid: { stroke: c.line, width: 1 },
});

function drawBars(u, rows, scale, c, options) {
  const { ctx } = u;
  const px = uPlot.pxRatio;
  const zero = u.valToPos(options.from, 'v', true);
  const half = BAR_HEIGHT * 0.32 * px;
  ctx.save();
  if (options.mark !== null) {
    const at = u.valToPos(options.mark, 'v', true);
    ctx.strokeStyle = c.ink;
    ctx.lineWidth = px;
    ctx.setLineDash([4 * px, 3 * px]);
    ctx.beginPath();
    ctx.moveTo(at, u.bbox.top);
    ctx.lineTo(at, u.bbox.top + u.bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
  }
  rows.forEach((row, i) => {
    const y = u.valToPos(i, 'x', true);
    if (!known(row.value)) {
      ctx.fillStyle = c.soft;
      ctx.font = `italic ${12 * px}px ${c.font}`;
      ctx.textAlign = 'left';
      ctx.textBaseline = 'middle';
      ctx.fillText(row.missing ?? 'no value', zero + 6 * px, y);
      return;
    }
    const x = u.valToPos(row.value * scale.factor, 'v', true);
    ctx.fillStyle = fill(ctx, row.subject);
    ctx.fillRect(Math.min(zero, x), y - half, Math.abs(x - zero), 2 * half);
    ctx.strokeStyle = colour(row.subject);
    ctx.lineWidth = px;
    ctx.strokeRect(Math.min(zero, x), y - half, Math.abs(x - zero), 2 * half);
    let right = x;
    if (known(row.low) && known(row.high)) {
      const x0 = u.valToPos(row.low * scale.factor, 'v', true);
      const x1 = u.valToPos(row.high * scale.factor, 'v', true);
      whisker(ctx, x0, x1, y, 5 * px, px, c.ink, c.paper);
      right = Math.max(right, x1);
    }
    ctx.fillStyle = c.ink;
    ctx.font = `600 ${12 * px}px ${c.font}`;
    ctx.textAlign = 'left';
    ctx.textBaseline = 'middle';
    ctx.fillText(options.text(row.value), Math.max(right, zero) + 8 * px, y);
  });
  ctx.restore();
}

/**
 * Horizontal bars with intervals. rows: {label, subject, value, low, high, missing}; values in
 * the metric's own unit. mark: a value with a dashed line (1 for ratios) or null.
 */
export function bars({ title, description, rows, unit, ratio = false }) {
  const largest = Math.max(0, ...rows.flatMap((r) => [r.value, r.high]).filter(known));
  const scale = ratio ? { factor: 1, unit: '× reference' } : scaleFor(unit, largest);
  const text = (v) => (ratio ? times(v) : precise(v * scale.factor));
  const height = rows.length * BAR_HEIGHT + 32;
  return figure(
    title,
    description,
    (box, width) => {
      const c = inks();
      const probe = document.createElement('canvas').getContext('2d');
      probe.font = `13px ${c.font}`;
      const wanted = Math.max(...rows.map((r) => probe.measureText(r.label).width)) + 18;
      const labels = Math.min(wanted, width * 0.38, 220);
      const top = largest * scale.factor || 1;
      // Room at the right for the printed value.
      const reach = top * (1 + Math.min(1, 70 / Math.max(80, width - labels)) * 1.25);
      const names = rows.map((r) => fitText(probe, r.label, labels - 12));
      return new uPlot(
        {
          width,
          height,
          padding: [6, 20, 0, 0],
          legend: { show: false },
          cursor: { show: false },
          scales: {
            x: { time: false, ori: 1, dir: -1, range: [-0.6, rows.length - 0.4] },
            v: { ori: 0, dir: 1, range: [0, reach] },
          },
          axes: [
            {
              scale: 'x',
              side: 3,
              size: labels,
              stroke: c.ink,
              font: `13px ${c.font}`,
              gap: 8,
              grid: { show: false },
              ticks: { show: false },
              splits: rows.map((_, i) => i),
              values: names,
            },
            {
              ...axisBase(c),
              scale: 'v',
              side: 2,
              size: 26,
              space: 70,
              label: undefined,
              values: (_, splits) => splits.map((v) => number(v)),
            },
          ],
          series: [{ scale: 'x' }, { scale: 'v', paths: () => null, points: { show: false } }],
          hooks: {
            draw: [(u) => drawBars(u, rows, scale, c, { from: 0, mark: ratio ? 1 : null, text })],
          },
        },
        [rows.map((_, i) => i), rows.map((r) => (known(r.value) ? r.value * scale.factor : null))],
        box,
      );
    },
    h('p', { class: 'axis' }, ratio ? '× reference' : scale.unit),
  );
}

// Labels at the right end of lines, moved apart where they would overlap.
function endLabels(ends, gap, low, high) {
  ends.sort((a, b) => a.y - b.y);
  for (let i = 1; i < ends.length; i++) ends[i].y = Math.max(ends[i].y, ends[i - 1].y + gap);
  const over = ends.length ? ends[ends.length - 1].y - high : 0;
  if (over > 0) {
    ends[ends.length - 1].y = high;
    for (let i = ends.length - 2; i >= 0; i--) ends[i].y = Math.min(ends[i].y, ends[i + 1].y - gap);
  }
  for (const e of ends) e.y = Math.max(low, e.y);
}

function drawLines(u, series, c, hidden, room) {
  const { ctx } = u;
  const px = uPlot.pxRatio;
  const shown = series.filter((s) => !hidden.has(s.subject));
  ctx.save();
  ctx.setLineDash([]); // uPlot leaves the ideal's dashes set
  const ends = [];
  for (const s of shown) {
    const tint = colour(s.subject);
    const at = s.points.map((p) => [
      u.valToPos(p.threads, 'x', true),
      u.valToPos(p.value, 'v', true),
    ]);
    ctx.strokeStyle = tint;
    ctx.lineWidth = 2 * px;
    ctx.beginPath();
    at.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
    ctx.stroke();
    s.points.forEach((p, i) => {
      if (i > 0 && known(p.low) && known(p.high)) {
        ctx.lineWidth = 1.4 * px;
        const [y0, y1] = [u.valToPos(p.low, 'v', true), u.valToPos(p.high, 'v', true)];
        ctx.beginPath();
        ctx.moveTo(at[i][0], y0);
        ctx.lineTo(at[i][0], y1);
        ctx.moveTo(at[i][0] - 4 * px, y0);
        ctx.lineTo(at[i][0] + 4 * px, y0);
        ctx.moveTo(at[i][0] - 4 * px, y1);
        ctx.lineTo(at[i][0] + 4 * px, y1);
        ctx.stroke();
      }
      ctx.fillStyle = tint;
      marker(ctx, style(s.subject).marker, at[i][0], at[i][1], 4.2 * px);
    });
    const last = at[at.length - 1];
    ends.push({ y: last[1], from: last, text: s.subject, tint });
  }
  endLabels(ends, 15 * px, u.bbox.top, u.bbox.top + u.bbox.height);
  ctx.font = `${12 * px}px ${c.font}`;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  for (const e of ends) {
    const x = u.bbox.left + u.bbox.width + 14 * px;
    ctx.strokeStyle = e.tint;
    ctx.lineWidth = px;
    ctx.beginPath();
    ctx.moveTo(e.from[0] + 6 * px, e.from[1]);
    ctx.lineTo(x - 3 * px, e.y);
    ctx.stroke();
    ctx.fillStyle = c.ink;
    ctx.fillText(fitText(ctx, e.text, (room - 20) * px), x, e.y);
  }
  ctx.restore();
}

function legend(series, hidden, redraw) {
  return h(
    'ul',
    { class: 'legend', 'aria-label': 'Lines shown' },
    series.map((s) =>
      h(
        'li',
        {},
        h(
          'button',
          {
            type: 'button',
            'aria-pressed': String(!hidden.has(s.subject)),
            onclick: (e) => {
              if (hidden.has(s.subject)) hidden.delete(s.subject);
              else hidden.add(s.subject);
              e.currentTarget.setAttribute('aria-pressed', String(!hidden.has(s.subject)));
              redraw();
            },
          },
          swatch(s.subject),
          h('bdi', {}, clip(s.subject, 60)),
        ),
      ),
    ),
  );
}

/** Scaling lines with the dashed ideal. series: of model.scaling(). hidden: Set, kept by the page. */
export function scalingLines({ title, description, series, hidden }) {
  const threads = [...new Set(series.flatMap((s) => s.points.map((p) => p.threads)))].sort(
    (a, b) => a - b,
  );
  const first = threads[0];
  const last = threads[threads.length - 1];
  const ideal = last / first;
  const top = Math.max(ideal, ...series.flatMap((s) => s.points.map((p) => p.high ?? p.value)));
  let plot = null;
  const out = figure(
    title,
    description,
    (box, width) => {
      const c = inks();
      const room = Math.min(150, width * 0.3);
      plot = new uPlot(
        {
          width,
          height: Math.round(Math.min(360, Math.max(240, width * 0.6))),
          padding: [12, room, 0, 0],
          legend: { show: false },
          cursor: { show: false },
          scales: {
            x: { time: false, range: [first - (last - first) * 0.03, last] },
            v: { range: [0, top * 1.04] },
          },
          axes: [
            {
              ...axisBase(c),
              scale: 'x',
              size: 34,
              splits: threads,
              values: (_, s) => s.map(String),
              grid: { show: false },
            },
            {
              ...axisBase(c),
              scale: 'v',
              size: 46,
              values: (_, s) => s.map((v) => `${number(v)}×`),
            },
          ],
          series: [
            {},
            { scale: 'v', stroke: c.soft, width: 1.4, dash: [6, 5], points: { show: false } },
          ],
          hooks: { draw: [(u) => drawLines(u, series, c, hidden, room)] },
        },
        [threads, threads.map((t) => t / first)],
        box,
      );
      return plot;
    },
    h('p', { class: 'axis' }, `threads → (dashed: ideal, ${number(ideal)}× at ${last})`),
    legend(series, hidden, () => plot?.redraw()),
  );
  out.classList.add('across');
  return out;
}

const swatches = new WeakMap(); // canvas → subject

function paintSwatch(canvas) {
  const ctx = canvas.getContext('2d');
  const subject = swatches.get(canvas);
  ctx.clearRect(0, 0, 28, 28);
  ctx.fillStyle = fill(ctx, subject);
  ctx.fillRect(2, 2, 24, 24);
  ctx.strokeStyle = colour(subject);
  ctx.lineWidth = 2;
  ctx.strokeRect(2, 2, 24, 24);
}

/** Colour and pattern of a subject as a small picture, for tables and legends. */
export function swatch(subject) {
  const canvas = h('canvas', { class: 'swatch', width: '28', height: '28', 'aria-hidden': 'true' });
  swatches.set(canvas, subject);
  paintSwatch(canvas);
  return canvas;
}

export const colourOf = (subject) => colour(subject);
