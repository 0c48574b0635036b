// Server-sent events over fetch(), because EventSource cannot send a token.
// Parser is pure; follow() keeps a job's stream alive and falls back to polling the job.

import { get, jobPath, request } from './api.js';
import { isFinal } from './model.js';

const EVENT_MAX = 1 << 20; // characters of one event: more is not our server

/** push(text) → events [{event, data, id}]; lines may end in LF, CR or CRLF, split anywhere. */
export function sseParser() {
  let buffer = '';
  let event = '';
  let data = [];
  let id = '';
  let size = 0;
  let started = false;
  const state = { retry: null };
  function line(text, out) {
    if (text === '') {
      if (data.length) out.push({ event: event || 'message', data: data.join('\n'), id });
      event = '';
      data = [];
      size = 0;
      return;
    }
    if (text.startsWith(':')) return;
    const colon = text.indexOf(':');
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') event = value;
    else if (field === 'id' && !value.includes('\0')) id = value;
    else if (field === 'retry' && /^\d+$/.test(value)) state.retry = Number(value);
    else if (field === 'data') {
      size += value.length;
      if (size > EVENT_MAX) throw new Error('event too long');
      data.push(value);
    }
  }
  state.push = (text) => {
    const out = [];
    buffer += started ? text : text.replace(/^\ufeff/, '');
    started ||= text !== '';
    if (buffer.length > 2 * EVENT_MAX) throw new Error('line too long');
    for (;;) {
      const at = buffer.search(/[\r\n]/);
      // A CR at the very end may be half of a CRLF: wait for what follows.
      if (at < 0 || (buffer[at] === '\r' && at === buffer.length - 1)) return out;
      const next = buffer.startsWith('\r\n', at) ? at + 2 : at + 1;
      line(buffer.slice(0, at), out);
      buffer = buffer.slice(next);
    }
  };
  return state;
}

export const POLICY = {
  silenceMs: 40000,
  retryMs: 1000,
  retryMaxMs: 10000,
  failuresMax: 3,
  pollMs: 3000,
  pollsPerTry: 10,
};

const sleep = (ms, signal) =>
  new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        done();
      },
      { once: true },
    );
  });

/** One connection. Returns true when the stream said it ended. */
async function readStream(id, lastId, on, signal, policy) {
  const quiet = new AbortController();
  const stop = () => quiet.abort();
  signal.addEventListener('abort', stop, { once: true });
  let timer = setTimeout(stop, policy.silenceMs);
  try {
    const response = await request(jobPath(id, '/events'), {
      signal: quiet.signal,
      cache: 'no-store',
      headers: {
        Accept: 'text/event-stream',
        ...(lastId.value ? { 'Last-Event-ID': lastId.value } : {}),
      },
    });
    on.status('live');
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = sseParser();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return false;
      clearTimeout(timer);
      timer = setTimeout(stop, policy.silenceMs);
      for (const event of parser.push(value)) {
        if (event.id) lastId.value = event.id;
        lastId.seen++;
        on.event(event.event, JSON.parse(event.data));
        if (event.event === 'end') return true;
      }
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    quiet.abort();
  }
}

/** Polls until the job is final (true) or it is time to try the stream again (false). */
async function poll(id, on, signal, policy) {
  for (let n = 0; n < policy.pollsPerTry && !signal.aborted; n++) {
    try {
      const job = await get(jobPath(id), { signal });
      on.job(job);
      if (isFinal(job.state)) return true;
      on.status('polling');
    } catch (e) {
      if (e.status === 401 || e.status === 403 || e.status === 404) throw e;
      on.status('offline');
    }
    await sleep(policy.pollMs, signal);
  }
  return false;
}

/**
 * Follows a job to its end. on: {event(name, data), job(job), status(word)}; status is "live",
 * "reconnecting", "polling", "offline" or "ended". Resolves when the job has ended or at abort.
 */
export async function follow(id, on, signal, policy = POLICY) {
  const lastId = { value: '', seen: 0 };
  let failures = 0;
  while (!signal.aborted) {
    const seen = lastId.seen;
    try {
      if (await readStream(id, lastId, on, signal, policy)) {
        on.status('ended');
        return;
      }
    } catch (e) {
      if (e.status === 401 || e.status === 403 || e.status === 404) throw e;
    }
    if (signal.aborted) return;
    failures = lastId.seen > seen ? 1 : failures + 1;
    if (failures >= policy.failuresMax) {
      on.status('polling');
      if (await poll(id, on, signal, policy)) {
        on.status('ended');
        return;
      }
      failures = policy.failuresMax - 1;
    } else {
      on.status('reconnecting');
      await sleep(Math.min(policy.retryMaxMs, policy.retryMs * 2 ** (failures - 1)), signal);
    }
  }
}
