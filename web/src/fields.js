// Form fields that carry the JSON Pointer they stand for, so that an error of the server finds
// its field. Used by the submit page.

import { h } from './dom.js';

let serial = 0;

/** A labelled control with help and a place for its error. control: an element that takes focus. */
export function field(pointer, label, control, { help = '', unit = '', cls = '' } = {}) {
  const id = control.id || `field-${++serial}`;
  control.id = id;
  control.setAttribute('aria-describedby', `${id}-help ${id}-error`);
  return h(
    'div',
    { class: `field ${cls}`, 'data-pointer': pointer },
    h('label', { for: id }, label, unit ? h('span', { class: 'unit' }, ` ${unit}`) : null),
    control,
    h('p', { class: 'help', id: `${id}-help` }, help),
    h('p', { class: 'error', id: `${id}-error` }),
  );
}

/** A group of controls under one pointer. */
export function group(pointer, legend, children, help = '') {
  const id = `group-${++serial}`;
  return h(
    'fieldset',
    { 'data-pointer': pointer, 'aria-describedby': `${id}-help ${id}-error`, id },
    h('legend', {}, legend),
    help && h('p', { class: 'help', id: `${id}-help` }, help),
    children,
    h('p', { class: 'error', id: `${id}-error` }),
  );
}

export function checkbox(
  text,
  checked,
  change,
  { disabled = false, note = null, value = '' } = {},
) {
  const id = `check-${++serial}`;
  return h(
    'div',
    { class: `check ${disabled ? 'off' : ''}` },
    h('input', {
      type: 'checkbox',
      id,
      checked,
      disabled,
      value,
      onchange: (e) => change(e.target.checked),
      'aria-describedby': note ? `${id}-note` : null,
    }),
    h('label', { for: id }, text),
    note ? h('span', { class: 'help', id: `${id}-note` }, note) : null,
  );
}

export const pointers = (form) =>
  [...form.querySelectorAll('[data-pointer]')].map((n) => n.dataset.pointer).filter(Boolean);

const holder = (form, pointer) =>
  [...form.querySelectorAll('[data-pointer]')].find((n) => n.dataset.pointer === pointer);

const controlOf = (node) =>
  node.matches('fieldset') ? node : node.querySelector('input, select, textarea');

/** Shows (or, with '', removes) the error of a field. from: who said it, so each clears its own. */
export function setError(form, pointer, text, from) {
  const node = holder(form, pointer);
  if (!node) return false;
  const place = [...node.children].find((c) => c.classList.contains('error'));
  if (!text && place.dataset.from !== from) return true;
  place.textContent = text;
  place.dataset.from = from;
  node.classList.toggle('invalid', Boolean(text));
  controlOf(node)?.setAttribute('aria-invalid', String(Boolean(text)));
  return true;
}

export function clearErrors(form, from) {
  for (const place of form.querySelectorAll(`.error[data-from="${from}"]`)) {
    place.textContent = '';
    place.parentElement.classList.remove('invalid');
    controlOf(place.parentElement)?.removeAttribute('aria-invalid');
  }
}

/** Opens what hides a field, brings it into view and focuses it. */
export function focusField(form, pointer) {
  const node = holder(form, pointer);
  if (!node) return;
  for (let d = node.closest('details'); d; d = d.parentElement.closest('details')) d.open = true;
  const target = node.querySelector('input:not(:disabled), select, textarea');
  node.scrollIntoView({ block: 'center' });
  target?.focus({ preventScroll: true });
}
