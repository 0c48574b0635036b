// The submit form's state and the job body it stands for. Pure; tested by unit.test.mjs.
//
// The state keeps what the form does not show (`rest`), so that cloning a job loses nothing.

import { shellQuote } from './format.js';

const SHOWN = [
  'preset',
  'profile',
  'name',
  'labels',
  'allocators',
  'reference',
  'workloads',
  'placement',
  'cpuset',
  'repeat',
  'limits',
  'seed',
  'mode',
];

const list = (v) => (v === undefined || v === null ? [] : Array.isArray(v) ? v : [v]);

export const emptyState = () => ({
  preset: '',
  profile: 'quick',
  name: '',
  labels: {},
  allocators: [],
  reference: '',
  workloads: [],
  placement: '',
  cpuset: '',
  repeat: {},
  limits: {},
  seed: '',
  mode: '',
  rest: {},
});

/** A job body (a preset's or a stored spec) to form state: every value a list of texts. */
export function fromBody(body) {
  const state = emptyState();
  for (const key of SHOWN)
    if (body[key] !== undefined && body[key] !== null) state[key] = body[key];
  state.allocators = list(body.allocators).map((a) =>
    typeof a === 'string'
      ? { name: a, options: [] }
      : { name: String(a.name), options: list(a.options).map(String) },
  );
  state.workloads = list(body.workloads).map((w) => ({
    workload: String(w.workload),
    params: Object.fromEntries(
      Object.entries(w.params ?? {}).map(([name, v]) => [name, list(v).map(String)]),
    ),
    threads: list(w.threads).map(String),
    pages: list(w.pages).map(String),
    repeats: w.repeats ?? '',
    rotations: w.rotations ?? '',
    slice_ops: w.slice_ops ?? '',
    rest: Object.fromEntries(
      Object.entries(w).filter(
        ([k]) =>
          !['workload', 'params', 'threads', 'pages', 'repeats', 'rotations', 'slice_ops'].includes(
            k,
          ),
      ),
    ),
  }));
  state.labels = { ...(body.labels ?? {}) };
  state.repeat = { ...(body.repeat ?? {}) };
  state.limits = { ...(body.limits ?? {}) };
  state.seed = body.seed === undefined || body.seed === null ? '' : String(body.seed);
  state.rest = Object.fromEntries(Object.entries(body).filter(([k]) => !SHOWN.includes(k)));
  return state;
}

const SUFFIX = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/**
 * One value of a parameter row from its text, or undefined when it is not of the row's type: the
 * text then goes to the server as it stands and comes back as an error at its field.
 */
export function parseValue(row, text) {
  const t = text.trim();
  switch (row.type) {
    case 'boolean':
      return t === 'true' || t === '1' ? true : t === 'false' || t === '0' ? false : undefined;
    case 'enum':
      return t;
    case 'size': {
      const m = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:i?b)?|b|bytes)?$/i.exec(t);
      if (!m) return undefined;
      const value = Number(m[1]) * (m[2] ? SUFFIX[m[2].toLowerCase()] : 1);
      return Number.isSafeInteger(value) ? value : undefined;
    }
    case 'integer':
      return /^-?\d+$/.test(t) && Number.isSafeInteger(Number(t)) ? Number(t) : undefined;
    default:
      return t !== '' && Number.isFinite(Number(t)) ? Number(t) : undefined;
  }
}

/** What is wrong with a value, in words, or ''. The server decides; this is only sooner. */
export function checkValue(row, text) {
  const value = parseValue(row, text);
  const unit = row.unit ? ` ${row.unit}` : '';
  if (value === undefined)
    return `“${text}” is not ${
      row.type === 'integer'
        ? 'a whole number'
        : row.type === 'size'
          ? 'a size such as 64 MiB'
          : `of type ${row.type}`
    }`;
  if (row.choices && !row.choices.includes(value)) return `choose from ${row.choices.join(', ')}`;
  if (typeof value === 'number' && Number.isFinite(row.min) && value < row.min)
    return `${text} is below the minimum of ${row.min}${unit}`;
  if (typeof value === 'number' && Number.isFinite(row.max) && value > row.max)
    return `${text} is above the maximum of ${row.max}${unit}`;
  return '';
}

const scalarOrList = (values) => (values.length === 1 ? values[0] : values);
const whole = (text) => (/^\d+$/.test(String(text).trim()) ? Number(text) : text);
const filled = (object) =>
  Object.fromEntries(
    Object.entries(object).filter(([, v]) => v !== '' && v !== undefined && v !== null),
  );

function workloadBody(entry, rows) {
  const row = rows.find((r) => r.name === entry.workload);
  const params = {};
  for (const [name, texts] of Object.entries(entry.params)) {
    const values = texts.filter((t) => t.trim() !== '');
    const param = row?.params.find((p) => p.name === name);
    if (values.length)
      params[name] = scalarOrList(
        values.map((t) => (param ? (parseValue(param, t) ?? t) : whole(t))),
      );
  }
  const body = { ...entry.rest, workload: entry.workload };
  if (Object.keys(params).length) body.params = params;
  if (entry.threads.length) body.threads = entry.threads.map(whole);
  if (entry.pages.length) body.pages = [...entry.pages];
  for (const key of ['repeats', 'rotations', 'slice_ops'])
    if (entry[key] !== '') body[key] = whole(entry[key]);
  return body;
}

/** Form state to the body of POST /jobs. rows: the workloads of the API. */
export function toBody(state, rows) {
  const body = { ...state.rest };
  if (state.preset) body.preset = state.preset;
  if (state.profile) body.profile = state.profile;
  if (state.name) body.name = state.name;
  const labels = filled(state.labels);
  if (labels.sequence !== undefined) labels.sequence = whole(labels.sequence);
  if (Object.keys(labels).length) body.labels = labels;
  if (state.allocators.length)
    body.allocators = state.allocators.map((a) => (a.options.length ? a : a.name));
  if (state.reference) body.reference = state.reference;
  if (state.workloads.length) body.workloads = state.workloads.map((w) => workloadBody(w, rows));
  if (state.placement) body.placement = state.placement;
  if (state.cpuset) body.cpuset = state.cpuset;
  for (const key of ['limits', 'repeat']) {
    const object = filled(state[key]);
    for (const name of Object.keys(object)) object[name] = whole(object[name]);
    if (Object.keys(object).length) body[key] = object;
  }
  if (state.seed !== '') body.seed = whole(state.seed);
  if (state.mode) body.mode = state.mode;
  return body;
}

/** The same request for a shell. The token is named, never written out. */
export function curlLine(url, body, withToken) {
  const parts = ['curl -sS -X POST', shellQuote(url), "-H 'Content-Type: application/json'"];
  if (withToken) parts.push('-H "Authorization: Bearer $HEAPMARK_TOKEN"');
  parts.push('-d', shellQuote(JSON.stringify(body)));
  return parts.join(' ');
}

const CLI_SERVER = 'http://127.0.0.1:8080'; // what the command uses when not told

/** The same job for the command: options where they say it all, else the saved file. */
export function cliLine(body, server = CLI_SERVER) {
  const parts = ['heapmark submit'];
  const said = ['preset', 'profile', 'name', 'allocators'];
  if (body.preset && Object.keys(body).every((key) => said.includes(key))) {
    parts.push(shellQuote(body.preset));
    if (body.profile) parts.push('--profile', shellQuote(body.profile));
    if (body.name) parts.push('--name', shellQuote(body.name));
    if (body.allocators)
      parts.push(
        '--allocators',
        shellQuote(
          body.allocators
            .map((a) => (typeof a === 'string' ? a : [a.name, ...a.options].join('+')))
            .join(','),
        ),
      );
  } else {
    parts.push('job.json');
  }
  if (server !== CLI_SERVER) parts.push('--server', shellQuote(server));
  return parts.join(' ');
}

/**
 * The longest prefix of a JSON Pointer that names a field of the form:
 * "/workloads/0/params/live/2" finds "/workloads/0/params/live". '' when none does.
 */
export function pointerField(pointer, fields) {
  let at = String(pointer ?? '');
  while (at) {
    if (fields.includes(at)) return at;
    at = at.slice(0, at.lastIndexOf('/'));
  }
  return '';
}
