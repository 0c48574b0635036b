// A colour, a marker and a fill pattern for each subject: a function of its name alone, so that
// hiding, filtering or sorting never changes one. Okabe-Ito colours, darker or lighter per theme.
// Pure but for theme(), which asks the browser.

// [on light, on dark]: Okabe-Ito hues; on light adjusted to reach 3:1 against the page.
const COLOURS = {
  blue: ['#0072b2', '#4aa8e0'],
  vermillion: ['#c44e00', '#f07d3a'],
  green: ['#00805f', '#2fbf97'],
  purple: ['#b0568c', '#dc94bf'],
  orange: ['#b27400', '#f0ac2e'],
  sky: ['#2b87bd', '#8fd0f5'],
  yellow: ['#8a7d00', '#efe45a'],
  ink: ['#4b5560', '#b4bec8'],
};
const NAMES = Object.keys(COLOURS);
const PATTERNS = ['solid', 'stripes', 'dots', 'cross', 'back'];
const MARKERS = ['circle', 'square', 'triangle', 'diamond', 'down'];

// The allocators of the catalogue have their own; others are hashed.
const KNOWN = {
  glibc: ['ink', 0, 0],
  jemalloc: ['blue', 0, 1],
  tcmalloc: ['vermillion', 0, 2],
  mimalloc: ['green', 0, 3],
  tbb: ['orange', 0, 0],
  scudo: ['sky', 0, 1],
  'classic-first': ['yellow', 1, 2],
  'classic-next': ['orange', 1, 3],
  'classic-best': ['sky', 1, 4],
  'classic-buddy': ['green', 1, 0],
  'classic-slub': ['blue', 1, 1],
  null: ['ink', 1, 1],
  bump: ['ink', 2, 2],
  lifo: ['ink', 3, 3],
  '4k': ['ink', 0, 0],
  thp: ['blue', 0, 1],
  'hugetlb-2m': ['vermillion', 0, 2],
  'hugetlb-1g': ['green', 0, 3],
};

/** FNV-1a, 32 bits. */
export function hash(text) {
  let h = 0x811c9dc5;
  for (const c of new TextEncoder().encode(text)) h = Math.imul(h ^ c, 0x01000193) >>> 0;
  return h;
}

/** { colour: name, pattern, marker } of a subject ("jemalloc+thp-off"). */
export function style(subject) {
  const [base, ...options] = String(subject).split('+');
  if (Object.hasOwn(KNOWN, base)) {
    const [colour, pattern, marker] = KNOWN[base];
    const shift = options.length ? 1 + (hash(options.join('+')) % 4) : 0;
    return {
      colour,
      pattern: PATTERNS[(pattern + shift) % 5],
      marker: MARKERS[(marker + shift) % 5],
    };
  }
  const h = hash(String(subject));
  return {
    colour: NAMES[h % NAMES.length],
    pattern: PATTERNS[(h >>> 8) % 5],
    marker: MARKERS[(h >>> 16) % 5],
  };
}

export function theme() {
  return window.matchMedia('(prefers-color-scheme: dark)').matches ? 1 : 0;
}

export const colour = (subject, dark = theme()) => COLOURS[style(subject).colour][dark];
