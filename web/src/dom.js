// Elements without markup strings: text reaches the page as text nodes only, so no value from a
// server, label or allocator can become markup or style. Used by every page.

/** h('td', { class: 'n', onclick: f }, 'text', node, [more]) */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style' || name === 'srcdoc' || /html$/i.test(name))
      throw new Error(`h: ${name} is not allowed`);
    else if (name === 'value' || name === 'checked' || name === 'selected' || name === 'open')
      node[name] = value;
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  append(node, children);
  return node;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
}

const SVG = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (/^on|href|style/i.test(name)) throw new Error(`svg: ${name} is not allowed`);
    if (value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  append(node, children);
  return node;
}

/**
 * Replaces what `region` holds and keeps what the reader was doing: focus, and open or closed
 * details, both found again by id.
 */
export function refill(region, ...children) {
  const focused = region.contains(document.activeElement) ? document.activeElement.id : '';
  const open = new Map([...region.querySelectorAll('details[id]')].map((d) => [d.id, d.open]));
  const scroll = new Map(
    [...region.querySelectorAll('.scroll[id]')].map((d) => [d.id, d.scrollLeft]),
  );
  region.replaceChildren();
  append(region, children);
  for (const [id, was] of open) {
    const details = document.getElementById(id);
    if (details) details.open = was;
  }
  for (const [id, left] of scroll) {
    const box = document.getElementById(id);
    if (box) box.scrollLeft = left;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

/** A table inside a box that scrolls sideways on narrow screens and can be reached by keyboard. */
export function tableBox(id, caption, table) {
  return h(
    'div',
    { class: 'scroll', id, tabindex: '0', role: 'region', 'aria-label': caption },
    table,
  );
}

export const link = (href, text, attributes = {}) => h('a', { href, ...attributes }, text);

/** Text from outside: its own direction, never spilling over what stands beside it. */
export const bdi = (text, attributes = {}) => h('bdi', attributes, text);

export function debounce(ms, f) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...args), ms);
  };
}

/** A saved file, from memory. */
export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const a = h('a', { href: url, download: name });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
