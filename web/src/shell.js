// What every page has: header, navigation, token entry, footer, and how errors look.

import { getToken, Problem, setToken, version } from './api.js';
import { h, link, refill } from './dom.js';

const PAGES = [
  ['index', './', 'Jobs'],
  ['submit', 'submit', 'Submit'],
  ['allocators', 'allocators', 'Allocators'],
  ['host', 'host', 'Host'],
];

export function shell(page) {
  const main = h('main', { id: 'main', tabindex: '-1' });
  const nav = h(
    'nav',
    { 'aria-label': 'Pages' },
    PAGES.map(([name, href, text]) =>
      link(href, text, name === page ? { 'aria-current': 'page' } : {}),
    ),
  );
  const footer = h(
    'footer',
    {},
    h('span', { id: 'version' }),
    h('span', {}, link('api/v1/openapi.json', 'OpenAPI'), ' · ', link('metrics', 'Metrics')),
  );
  document.body.prepend(
    link('#main', 'Skip to content', { class: 'skip' }),
    h(
      'header',
      { class: 'top' },
      h(
        'div',
        { class: 'bar' },
        link('./', 'heapmark', { class: 'brand' }),
        nav,
        h(
          'button',
          { class: 'quiet', id: 'token-button', type: 'button', onclick: () => askToken() },
          getToken() ? 'Token kept' : 'Token',
        ),
      ),
    ),
    main,
    footer,
  );
  version()
    .then((v) => {
      if (v)
        document.getElementById('version').textContent = `heapmark ${v.version} · build ${String(
          v.build_id ?? '',
        ).slice(0, 12)} · SQLite ${v.sqlite}`;
    })
    .catch(() => {});
  return main;
}

/** Token entry. Reloads the page when it changed. */
export function askToken(why = '') {
  document.getElementById('token-dialog')?.remove();
  const input = h('input', {
    id: 'token-input',
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'hmk_…',
    'aria-describedby': 'token-help',
  });
  const dialog = h(
    'dialog',
    { id: 'token-dialog', 'aria-labelledby': 'token-title' },
    h(
      'form',
      {
        method: 'dialog',
        onsubmit: (event) => {
          event.preventDefault();
          setToken(input.value.trim());
          dialog.close();
          location.reload();
        },
      },
      h('h2', { id: 'token-title' }, 'Access token'),
      why && h('p', { class: 'notice bad', role: 'alert' }, why),
      h(
        'p',
        { id: 'token-help' },
        'A server that listens beyond this machine asks for one. Make it ' + 'there with ',
        h('code', {}, 'heapmark token create NAME'),
        '. It is kept in this tab only ' + 'and forgotten when the tab closes.',
      ),
      h('label', { for: 'token-input' }, 'Token'),
      input,
      h(
        'div',
        { class: 'actions' },
        h('button', { class: 'primary', type: 'submit' }, 'Use token'),
        getToken() &&
          h(
            'button',
            {
              type: 'button',
              onclick: () => {
                setToken('');
                location.reload();
              },
            },
            'Forget token',
          ),
        h('button', { type: 'button', onclick: () => dialog.close() }, 'Close'),
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  input.focus();
}

/** A problem as a box that says what to do. 401 also opens the token entry. */
export function problemBox(error, retry = null) {
  const problem =
    error instanceof Problem
      ? error
      : new Problem(-1, {
          title: 'This page failed',
          detail: `This page failed: ${error.message}. Reload it; if it stays, please report it.`,
        });
  if (problem.status === -1) console.error(error);
  if (problem.status === 401)
    askToken(
      getToken()
        ? 'The server does not accept the token kept in this tab. It may have expired or been revoked.'
        : 'This server asks for a token.',
    );
  const advice =
    {
      401: 'Enter a token with the button at the top.',
      403:
        getToken() && 'The token lacks the scope for this. Ask the administrator for one with it.',
      404: 'It may have been removed, or the address is wrong.',
      429: 'The server is busy. Try again in a moment.',
      503: 'The server is starting or stopping. Try again in a moment.',
      507: 'The server’s disk is nearly full; the administrator has to make room.',
    }[problem.status] ??
    (problem.status >= 500 ? 'The server failed. Its log has the cause under the request id.' : '');
  return h(
    'div',
    { class: 'notice bad', role: 'alert' },
    h('p', {}, h('strong', {}, problem.title || 'Something went wrong')),
    problem.message !== problem.title && h('p', {}, problem.message),
    advice && h('p', {}, advice),
    problem.requestId &&
      h('p', { class: 'small' }, 'Request id ', h('code', {}, problem.requestId)),
    retry && h('button', { type: 'button', onclick: retry }, 'Try again'),
  );
}

/** Runs an async page part; its problem takes the region's place. */
export async function guard(region, run) {
  try {
    return await run();
  } catch (e) {
    if (e.name !== 'AbortError')
      refill(
        region,
        problemBox(e, () => {
          refill(region, h('p', { class: 'loading' }, 'Loading…'));
          guard(region, run);
        }),
      );
    return undefined;
  }
}

export const stateBadge = (state) =>
  h('span', { class: `state ${/^[a-z]+$/.test(state) ? state : ''}` }, state);

export function copyable(id, label, text) {
  const pre = h('pre', { id, tabindex: '0', 'aria-label': label }, text);
  const button = h(
    'button',
    {
      type: 'button',
      class: 'copy',
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(pre.textContent);
          button.textContent = 'Copied';
        } catch {
          // Plain HTTP off loopback has no clipboard: select it, so that Ctrl-C does it.
          getSelection().selectAllChildren(pre);
          button.textContent = 'Selected';
        }
        setTimeout(() => {
          button.textContent = 'Copy';
        }, 2000);
      },
    },
    'Copy',
  );
  return h(
    'div',
    { class: 'code' },
    h('div', { class: 'code-head' }, h('span', {}, label), button),
    pre,
  );
}
