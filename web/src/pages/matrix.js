// The cells of a running job, filling in: a row for each group, a column for each allocator or
// page mode.

import { bdi, h, tableBox } from '../dom.js';
import { clip, integer } from '../format.js';
import { cellLabel, groupTitle } from '../model.js';

const ROWS_MAX = 100;

function mark(cell) {
  if (!cell) return h('td', {});
  const { ok = 0, failed = 0, discarded = 0 } = cell.trials ?? {};
  const text = failed ? `${integer(ok)} ✕${integer(failed)}` : ok ? integer(ok) : '·';
  const words = `${integer(ok)} done, ${integer(failed)} failed, ${integer(discarded)} discarded`;
  return h(
    'td',
    {},
    h(
      'span',
      { class: `dot ${failed ? 'bad' : ok ? 'ok' : ''}`, title: words },
      h('span', { 'aria-hidden': 'true' }, text),
      h('span', { class: 'sr' }, words),
    ),
  );
}

function table(groups, title, id) {
  if (!groups.length) return null;
  const columns = [...new Set(groups.flatMap((g) => g.cells.map((c) => cellLabel(g, c))))];
  return tableBox(
    id,
    title,
    h(
      'table',
      { class: 'matrix' },
      h('caption', { class: 'sr' }, title),
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, h('span', { class: 'sr' }, 'Group')),
          columns.map((c) => h('th', { scope: 'col' }, bdi(clip(c, 24)))),
        ),
      ),
      h(
        'tbody',
        {},
        groups.slice(0, ROWS_MAX).map((g) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, bdi(groupTitle(g))),
            columns.map((c) => mark(g.cells.find((cell) => cellLabel(g, cell) === c))),
          ),
        ),
      ),
    ),
  );
}

export function matrixView(groups) {
  if (!groups.length) return null;
  return h(
    'details',
    { id: 'matrix', class: 'card', open: true },
    h('summary', {}, 'Trials done so far'),
    table(
      groups.filter((g) => g.axis !== 'pages'),
      'Trials done by group and allocator',
      'matrix-a',
    ),
    table(
      groups.filter((g) => g.axis === 'pages'),
      'Trials done by group and page mode',
      'matrix-p',
    ),
    groups.length > ROWS_MAX &&
      h('p', { class: 'small' }, `The first ${ROWS_MAX} groups are shown.`),
  );
}
