// A server for the pages without a daemon: the built bundle under the real Content-Security-Policy
// and the REST shapes from fixtures. Started by the browser tests and by web/screenshots.mjs.
//
// control.* changes how it behaves; tests set it directly, in the same process.

import http from 'node:http';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import * as fx from './fixtures.mjs';

export const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
  "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};
const PAGES = {
  '/': 'index.html',
  '/job': 'job.html',
  '/submit': 'submit.html',
  '/host': 'host.html',
  '/allocators': 'allocators.html',
};
const TOTAL = 20;

function problem(res, status, body) {
  res.writeHead(status, { 'Content-Type': 'application/problem+json' });
  res.end(
    JSON.stringify({
      type: '/problems/x',
      title: 'Problem',
      status,
      request_id: 'req-1',
      ...body,
    }),
  );
}

function json(res, body, status = 200, headers = {}) {
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
}

const listOf = (items, query) => {
  const limit = Number(query.get('limit') ?? 50);
  const at = Number(query.get('cursor') ?? 0);
  const end = at + limit;
  return {
    items: items.slice(at, end),
    next: end < items.length ? String(end) : null,
  };
};

/** {url, control, close}. dist: the folder of the bundle. */
export async function startFake(dist) {
  const groups = fx.makeGroups();
  const jobs = new Map();
  const control = {
    jobs,
    groups,
    posted: [],
    requests: [],
    token: '',
    fail: null,
    dropAfter: 0,
    dropHard: false,
    streamFails: 0,
    live: { done: 0, cancelled: false, stepMs: 25, auto: true },
    streams: [],
  };
  const reset = () => {
    jobs.clear();
    jobs.set(
      fx.JOB_ID,
      fx.makeJob(fx.JOB_ID, {
        name: 'Allocators side by side (made-up figures)',
      }),
    );
    Object.assign(control, {
      posted: [],
      requests: [],
      token: '',
      fail: null,
      dropAfter: 0,
      dropHard: false,
      streamFails: 0,
      streams: [],
      live: { done: 0, cancelled: false, stepMs: 25, auto: true },
    });
  };
  reset();
  control.reset = reset;

  function liveJob() {
    const { done, cancelled } = control.live;
    const state = cancelled ? 'cancelled' : done >= TOTAL ? 'succeeded' : 'running';
    return fx.makeJob(fx.LIVE_ID, {
      name: 'live job',
      state,
      finished: state === 'running' ? null : '2026-11-24T06:02:41.000Z',
      cancel_requested: cancelled,
      progress: {
        steps_total: TOTAL,
        steps_done: done,
        steps_failed: 0,
        steps_discarded: 0,
        seconds_left: state === 'running' ? (TOTAL - done) * 2 : null,
      },
    });
  }
  const findJob = (id) => (id === fx.LIVE_ID ? liveJob() : jobs.get(id));

  function stepEvent(n) {
    return {
      steps_done: n,
      steps_total: TOTAL,
      steps_failed: 0,
      steps_discarded: 0,
      seconds_left: (TOTAL - n) * 2,
      group: 0,
      workload: 'table-cold',
      threads: 2,
      cells: [0, 1],
      outcomes: ['ok', 'ok'],
    };
  }

  // One step per stepMs, resumed after Last-Event-ID; dropAfter cuts the connection once.
  function stream(req, res) {
    if (control.streamFails > 0) {
      control.streamFails--;
      problem(res, 503, { detail: 'no stream now' });
      return;
    }
    let at = Number(req.headers['last-event-id'] ?? 0);
    control.streams.push(at);
    res.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
    });
    res.write(': hello\n\n');
    let sent = 0;
    const timer = setInterval(() => {
      const { live } = control;
      if (live.auto && live.done < TOTAL && at >= live.done && !live.cancelled) live.done++;
      if (at < live.done) {
        at++;
        res.write(`event: step\r\nid: ${at}\r\ndata: ${JSON.stringify(stepEvent(at))}\r\n\r\n`);
        if (control.dropAfter && ++sent >= control.dropAfter) {
          control.dropAfter = 0;
          clearInterval(timer);
          if (control.dropHard) res.destroy();
          else res.end();
        }
        return;
      }
      if (live.cancelled || live.done >= TOTAL) {
        clearInterval(timer);
        res.end(
          `event: end\nid: ${at + 1}\ndata: ${JSON.stringify({ state: live.cancelled ? 'cancelled' : 'succeeded' })}\n\n`,
        );
      }
    }, control.live.stepMs);
    res.on('close', () => clearInterval(timer));
  }

  function checkJob(body) {
    if (body.profiles)
      return { title: 'Unknown name', detail: 'unknown field', pointer: '/profiles' };
    if (!body.preset && !body.workloads)
      return {
        title: 'Nothing to measure',
        detail: 'give preset or workloads',
        pointer: '',
      };
    for (const [i, w] of (body.workloads ?? []).entries()) {
      const row = fx.workloads.find((x) => x.name === w.workload);
      for (const [name, v] of Object.entries(w.params ?? {})) {
        const p = row.params.find((x) => x.name === name);
        for (const [k, one] of [v].flat().entries())
          if (p.min !== null && (typeof one !== 'number' || one < p.min || one > p.max))
            return {
              title: 'Out of range',
              detail: `${name}: ${one} is outside ${p.min}..${p.max}`,
              pointer: `/workloads/${i}/params/${name}${Array.isArray(v) ? `/${k}` : ''}`,
            };
      }
    }
    if (body.name === 'refuse')
      return {
        title: 'Queue full',
        detail: 'the queue holds 1000 jobs; try later',
        pointer: '',
      };
    return null;
  }

  function postJob(req, res, query, text) {
    const body = JSON.parse(text);
    const bad = checkJob(body);
    if (bad) {
      problem(res, 422, bad);
      return;
    }
    if (query.get('dry_run')) {
      json(res, {
        cells_count: 40,
        steps: 200,
        seconds_estimate: 95.2,
        memory_bytes_estimate: 1.2e9,
        cells: [],
        spec: {
          ...fx.presets.find((p) => p.name === body.preset)?.job,
          ...body,
          preset: undefined,
          profiles: undefined,
        },
      });
      return;
    }
    control.posted.push({
      body,
      key: req.headers['idempotency-key'],
      type: req.headers['content-type'],
    });
    json(res, { job: fx.makeJob(fx.LIVE_ID, { state: 'queued' }) }, 202, {
      Location: `/api/v1/jobs/${fx.LIVE_ID}`,
    });
  }

  function jobRoute(req, res, parts, query) {
    const job = findJob(parts[1]);
    if (!job) {
      problem(res, 404, { title: 'Not found', detail: `no job ${parts[1]}` });
      return;
    }
    const mine = jobs.get(`${job.id}:groups`) ?? groups;
    switch (parts[2]) {
      case undefined:
        json(res, { ...job, spec: fx.spec });
        break;
      case 'cancel':
        control.live.cancelled = true;
        json(res, liveJob(), 202);
        break;
      case 'cells':
        json(
          res,
          listOf(
            mine.flatMap((g) => g.cells),
            query,
          ),
        );
        break;
      case 'trials': {
        const cell = query.get('cell');
        json(
          res,
          listOf(
            fx.makeTrials(mine).filter((t) => cell === null || t.cell === Number(cell)),
            query,
          ),
        );
        break;
      }
      case 'results':
        json(res, {
          job,
          groups: job.id === fx.LIVE_ID && control.live.done === 0 ? [] : mine,
        });
        break;
      case 'events':
        stream(req, res);
        break;
      default:
        problem(res, 404, { title: 'Not found' });
    }
  }

  function api(req, res, url, text) {
    const parts = url.pathname.slice('/api/v1/'.length).split('/').map(decodeURIComponent);
    const query = url.searchParams;
    if (control.token && req.headers.authorization !== `Bearer ${control.token}`) {
      problem(res, 401, {
        title: 'Token needed',
        detail: 'send Authorization: Bearer hmk_…',
      });
      return;
    }
    if (control.fail?.(req, url)) {
      problem(res, 500, {
        title: 'Internal error',
        detail: 'the database said no',
      });
      return;
    }
    const lists = {
      workloads: fx.workloads,
      allocators: fx.allocators,
      presets: fx.presets,
      metrics: fx.metrics,
    };
    if (parts[0] === 'jobs' && parts[1]) jobRoute(req, res, parts, query);
    else if (parts[0] === 'jobs' && req.method === 'POST') postJob(req, res, query, text);
    else if (parts[0] === 'jobs') {
      const all = [...jobs.values()].filter(
        (j) =>
          j.id &&
          (!query.get('state') || j.state === query.get('state')) &&
          (!query.get('project') || j.labels.project === query.get('project')),
      );
      json(res, listOf(all, query));
    } else if (parts[0] === 'host') json(res, fx.host);
    else if (parts[0] === 'results') {
      const csv = query.get('format') === 'csv';
      res.writeHead(200, {
        'Content-Type': csv ? 'text/csv' : 'application/x-ndjson',
      });
      res.end(csv ? 'metric,value\npairs_per_s,1\n' : '{"metric":"pairs_per_s","value":1}\n');
    } else if (lists[parts[0]] && query.size)
      problem(res, 422, { title: 'Unknown name', detail: 'no such parameter' });
    else if (lists[parts[0]]) json(res, { items: lists[parts[0]], next: null });
    else problem(res, 404, { title: 'Not found' });
  }

  const server = http.createServer((req, res) => {
    let text = '';
    req.on('data', (chunk) => {
      text += chunk;
    });
    req.on('end', () => {
      const url = new URL(req.url, 'http://fake');
      control.requests.push({
        method: req.method,
        url: req.url,
        headers: req.headers,
      });
      res.setHeader('Content-Security-Policy', CSP);
      res.setHeader('X-Content-Type-Options', 'nosniff');
      res.setHeader('Referrer-Policy', 'no-referrer');
      if (url.pathname.startsWith('/api/v1/')) {
        api(req, res, url, text);
        return;
      }
      if (url.pathname === '/version') {
        json(res, {
          name: 'heapmark',
          version: '0.1.0',
          build_id: 'a1b2c3d4e5f6',
          sqlite: '3.40.1',
          libmicrohttpd: '0.9.75',
        });
        return;
      }
      const name = PAGES[url.pathname] ?? path.basename(url.pathname);
      try {
        const file = readFileSync(path.join(dist, name));
        res.writeHead(200, {
          'Content-Type': TYPES[path.extname(name)] ?? 'application/octet-stream',
        });
        res.end(file);
      } catch {
        problem(res, 404, { title: 'Not found' });
      }
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    control,
    close: () =>
      new Promise((done) => {
        server.closeAllConnections();
        server.close(done);
      }),
  };
}
