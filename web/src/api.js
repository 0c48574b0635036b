// The REST API as the pages use it. Paths are relative to the page: a proxy's prefix is kept.
// The token lives in sessionStorage: gone with the tab, never in a URL.

const ROOT = 'api/v1/';
const KEY = 'heapmark-token';

export const getToken = () => sessionStorage.getItem(KEY) ?? '';
export function setToken(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

/** A failed request: what problem+json said, or what can be said without it. */
export class Problem extends Error {
  constructor(status, body, retryAfter = null) {
    super(body?.detail || body?.title || `HTTP status ${status}`);
    this.status = status;
    this.title = body?.title ?? '';
    this.type = body?.type ?? '';
    this.pointer = body?.pointer ?? '';
    this.requestId = body?.request_id ?? '';
    this.retryAfter = retryAfter;
  }
}

export function headers(extra = {}) {
  const token = getToken();
  return token ? { ...extra, Authorization: `Bearer ${token}` } : extra;
}

async function failure(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // A proxy's page, or nothing: the status alone has to do.
  }
  const retry = Number(response.headers.get('Retry-After'));
  return new Problem(response.status, body, Number.isFinite(retry) && retry > 0 ? retry : null);
}

/** A response that succeeded; throws Problem (status 0 when the server cannot be reached). */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(ROOT + path, {
      cache: 'no-cache',
      ...options,
      headers: headers(options.headers),
    });
  } catch (e) {
    if (e.name === 'AbortError') throw e;
    throw new Problem(0, {
      title: 'The server does not answer',
      detail:
        'The server does not answer. Is heapmarkd running? This page tries again when reloaded.',
    });
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export async function get(path, options) {
  return (await request(path, { ...options, headers: { Accept: 'application/json' } })).json();
}

export async function post(path, body, extra = {}) {
  const response = await request(path, {
    method: 'POST',
    body: JSON.stringify(body ?? {}),
    headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...extra },
  });
  return response.json();
}

/** All items of a list, following `next`, at most `max`; {items, more}. */
export async function all(path, max = 1000, options = {}) {
  const items = [];
  let cursor = '';
  do {
    const join = path.includes('?') ? '&' : '?';
    const page = await get(
      `${path}${join}limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`,
      options,
    );
    items.push(...page.items);
    cursor = page.next ?? '';
  } while (cursor && items.length < max);
  return { items: items.slice(0, max), more: Boolean(cursor) || items.length > max };
}

/** A list the server gives whole (workloads, allocators, presets, metrics): it takes no paging. */
export const catalogue = async (path) => (await get(path)).items;

export const jobPath = (id, rest = '') => `jobs/${encodeURIComponent(id)}${rest}`;

export async function version() {
  const response = await fetch('version', { headers: headers({ Accept: 'application/json' }) });
  return response.ok ? response.json() : null;
}
