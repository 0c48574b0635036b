// A host's facts as a definition list; shared by the host page and the job page.

import { bdi, h } from '../dom.js';
import { bytes, clip } from '../format.js';

function text(name, value) {
  if (name === 'cmdline' && value === null) return 'only told to who has a token';
  if (value === null || value === undefined || value === '' || value === -1)
    return 'not told by this host';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'number' && name.endsWith('_bytes')) return bytes(value);
  return typeof value === 'object' ? clip(JSON.stringify(value), 400) : clip(value, 400);
}

export function factsList(facts) {
  const rows = Object.entries(facts ?? {}).filter(([name]) => name !== 'pools');
  return h(
    'dl',
    { class: 'facts columns' },
    rows.map(([name, value]) =>
      h(
        'div',
        { class: text(name, value).length > 60 ? 'long' : null },
        h(
          'dt',
          {},
          clip(name, 60)
            .replaceAll('_', ' ')
            .replace(/ bytes$/, ''),
        ),
        h('dd', {}, bdi(text(name, value))),
      ),
    ),
  );
}
