// Numbers, units and times as people read them. Pure; tested by tests/browser/unit.test.mjs.

const NONE = '–';
const MINUS = '\u2212';

/** Up to three significant digits, thousands apart; no exponent between 1e-4 and 1e15. */
export function number(value, digits = 3, keepZeros = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return '0';
  const magnitude = Math.floor(Math.log10(Math.abs(value)));
  if (magnitude < -4 || magnitude >= 15) return value.toExponential(digits - 1).replace('-', MINUS);
  const decimals = Math.max(0, digits - 1 - magnitude);
  return value
    .toLocaleString('en-US', {
      minimumFractionDigits: keepZeros ? Math.min(decimals, 12) : 0,
      maximumFractionDigits: Math.min(decimals, 12),
    })
    .replace('-', MINUS);
}

/** The same with trailing zeros kept: "11.0" was measured to a tenth. For measured values. */
export const precise = (value) => number(value, 3, true);

export function integer(value) {
  return Number.isFinite(value) ? Math.round(value).toLocaleString('en-US') : NONE;
}

const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(value) {
  if (value === null || !Number.isFinite(value)) return NONE;
  let at = 0;
  let v = Math.abs(value);
  while (v >= 1023.5 && at < BYTES.length - 1) {
    v /= 1024;
    at++;
  }
  return `${value < 0 ? MINUS : ''}${number(v)} ${BYTES[at]}`;
}

/** 0.174 → "17.4%". */
export function percent(ratio, digits = 3) {
  if (ratio === null || !Number.isFinite(ratio)) return NONE;
  return `${number(ratio * 100, digits, true)}%`;
}

/**
 * How a value of a unit is shown: { factor, unit, text(v) }. One scale for a whole column or
 * chart, chosen from its largest value, so that numbers below each other can be compared.
 */
export function scaleFor(unit, largest) {
  const big = Math.abs(largest) || 0;
  const plain = (factor, shown) => ({
    factor,
    unit: shown,
    text: (v) => (v === null ? NONE : precise(v * factor)),
  });
  switch (unit) {
    case 'bytes': {
      let at = 0;
      for (let v = big; v >= 1023.5 && at < BYTES.length - 1; v /= 1024) at++;
      return plain(1 / 1024 ** at, BYTES[at]);
    }
    case 'ns':
      return big >= 1e6 ? plain(1e-6, 'ms') : big >= 1e4 ? plain(1e-3, 'µs') : plain(1, 'ns');
    case 'us':
      return big >= 1e6 ? plain(1e-6, 's') : big >= 1e3 ? plain(1e-3, 'ms') : plain(1, 'µs');
    case 'ratio':
      return plain(100, '%');
    case '':
    case undefined:
    case null:
      return plain(1, '');
    default:
      if (big >= 1e9) return plain(1e-9, `G ${unit}`);
      if (big >= 1e6) return plain(1e-6, `M ${unit}`);
      return big >= 1e5 ? plain(1e-3, `k ${unit}`) : plain(1, unit);
  }
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NONE;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
  const h = Math.floor(s / 3600);
  return `${h} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
}

/** Time since, coarse: "12 s ago". Past a week, the date. */
export function ago(iso, now = Date.now()) {
  const t = Date.parse(iso);
  if (Number.isNaN(t)) return NONE;
  const s = Math.max(0, (now - t) / 1000);
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  if (s < 129600) return `${Math.round(s / 3600)} h ago`;
  if (s < 604800) return `${Math.round(s / 86400)} days ago`;
  return iso.slice(0, 10);
}

export function localTime(iso) {
  const t = new Date(iso);
  if (!iso || Number.isNaN(t.getTime())) return NONE;
  return t.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** "1.42×"; below a tenth two significant digits, so that nothing shows as 0.00×. */
export function times(ratio) {
  if (ratio === null || !Number.isFinite(ratio)) return NONE;
  return `${ratio >= 0.1 || ratio === 0 ? ratio.toFixed(2) : number(ratio, 2, true)}×`;
}

/** "0-3,8" → [0,1,2,3,8]. Anything else → []. */
export function cpuList(text) {
  if (Array.isArray(text)) return text.filter(Number.isInteger);
  const out = [];
  for (const part of String(text ?? '').split(',')) {
    const m = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (!m) continue;
    const last = m[2] === undefined ? Number(m[1]) : Number(m[2]);
    for (let i = Number(m[1]); i <= last && out.length < 65536; i++) out.push(i);
  }
  return out;
}

/** One line, at most `max` characters: labels may be hostile and ten thousand characters long. */
export function clip(text, max = 80) {
  const line = String(text ?? '')
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
    .trim();
  const chars = Array.from(line);
  return chars.length > max ? `${chars.slice(0, max - 1).join('')}…` : line;
}

export const plural = (n, one, many = `${one}s`) => `${integer(n)} ${n === 1 ? one : many}`;

/** A word for the shell, quoted only where needed. */
export function shellQuote(text) {
  return /^[A-Za-z0-9_./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
