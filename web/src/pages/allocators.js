// The catalogue: what can be measured here, each build with its hash, and what is missing.

import { catalogue } from '../api.js';
import { bdi, h, refill, tableBox } from '../dom.js';
import { ago, clip, localTime } from '../format.js';

const KINDS = [
  ['allocator', 'Allocators'],
  ['classic', 'Textbook designs'],
  ['baseline', 'Baselines: what the harness itself costs'],
];

function builds(a) {
  const list = a.builds ?? [];
  if (!list.length) return a.sha256 ? h('code', { title: a.sha256 }, a.sha256.slice(0, 12)) : '–';
  return h(
    'ul',
    { class: 'plain' },
    list
      .slice(0, 5)
      .map((b) =>
        h(
          'li',
          {},
          h('code', { title: b.sha256 }, b.sha256.slice(0, 12)),
          ' ',
          bdi(clip(b.version || '', 40)),
          h('span', { class: 'small', title: localTime(b.last_seen) }, ` seen ${ago(b.last_seen)}`),
        ),
      ),
    list.length > 5 && h('li', { class: 'small' }, `and ${list.length - 5} older`),
  );
}

function row(a) {
  return h(
    'tr',
    { class: a.available ? null : 'baseline' },
    h(
      'th',
      { scope: 'row' },
      bdi(clip(a.name, 60)),
      h('div', { class: 'small' }, clip(a.summary, 160)),
    ),
    h(
      'td',
      {},
      a.available
        ? h('span', { class: 'state succeeded' }, 'available')
        : [
            h('span', { class: 'state lost' }, 'unavailable'),
            h(
              'div',
              { class: 'small' },
              clip(a.reason || (a.package ? `install ${a.package}` : ''), 200),
            ),
          ],
    ),
    h('td', { class: 'wrap' }, a.path ? h('code', {}, bdi(clip(a.path, 120))) : '–'),
    h('td', {}, builds(a)),
    h(
      'td',
      {},
      a.options?.length
        ? a.options.map((o) => h('span', { class: 'tag', title: o.help }, clip(o.name, 40)))
        : '–',
    ),
  );
}

export async function allocatorsPage(main) {
  refill(main, h('p', { class: 'loading' }, 'Loading…'));
  const items = await catalogue('allocators');
  refill(
    main,
    h('h1', {}, 'Allocators'),
    h(
      'p',
      { class: 'lead' },
      'One file of the catalogue each. What is missing is said so; it never becomes another allocator.',
    ),
    items.length
      ? KINDS.map(([kind, title]) => {
          const rows = items.filter((a) => a.kind === kind);
          return (
            rows.length > 0 &&
            h(
              'section',
              { class: 'card' },
              tableBox(
                `kind-${kind}`,
                title,
                h(
                  'table',
                  {},
                  h('caption', {}, title),
                  h(
                    'thead',
                    {},
                    h(
                      'tr',
                      {},
                      ['Name', 'Here', 'File', 'Builds seen', 'Options'].map((t) =>
                        h('th', { scope: 'col' }, t),
                      ),
                    ),
                  ),
                  h('tbody', {}, rows.map(row)),
                ),
              ),
            )
          );
        })
      : h(
          'div',
          { class: 'empty' },
          h('h2', {}, 'The catalogue is empty'),
          h(
            'p',
            {},
            'heapmarkd found no catalogue files. Check its configuration with ',
            h('code', {}, 'heapmarkd --print-config'),
            '.',
          ),
        ),
  );
}
