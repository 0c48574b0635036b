// The pages as a real heapmarkd serves them, over jobs it really runs: its routes, its headers, its
// event stream. What every page does with every kind of data is pages.test.mjs's.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { launch, openPage } from './browser.mjs';

const WAIT = 30000;
const JOB_WAIT = 300000; // 14 rings and 21 trials, on a machine that may have other work
const build = process.env.HEAPMARK_BUILD_DIR ?? 'build/release';

let browser;
let daemon;
let directory;
let base;

async function startDaemon() {
  directory = mkdtempSync(join(tmpdir(), 'heapmark-browser-'));
  const port = join(directory, 'port');
  const set = [
    'server.listen=127.0.0.1:0',
    `store.directory=${directory}/state`,
    `supervisor.directory=${directory}/supervisor`,
    'store.low_water=16MiB',
    'log.level=error',
  ].flatMap((s) => ['--set', s]);
  daemon = spawn(join(build, 'bin/heapmarkd'), ['--port-file', port, ...set], { stdio: 'inherit' });
  for (let i = 0; i < 400 && !existsSync(port); i++) {
    assert.equal(daemon.exitCode, null, 'heapmarkd ended');
    await new Promise((done) => setTimeout(done, 50));
  }
  base = `http://127.0.0.1:${readFileSync(port, 'utf8').trim()}`;
}

async function submit() {
  const reply = await fetch(`${base}/api/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      name: 'pages',
      labels: { project: 'browser' },
      allocators: ['glibc', 'lifo', 'null'],
      workloads: [{ workload: 'table-churn', params: { live: 2000 } }, { workload: 'table-cold' }],
      repeat: { rings: 7, blocks: 7, rotations: 10 },
    }),
  });
  assert.equal(reply.status, 202);
  return (await reply.json()).job.id;
}

async function on(address, run) {
  const page = await openPage(browser, {});
  page.setDefaultTimeout(WAIT);
  try {
    await page.goto(new URL(address, base).href);
    await page.waitForSelector('main h1, main .notice, main .empty');
    await run(page);
    assert.deepEqual(page.faults, [], 'console and CSP must be silent');
  } finally {
    await page.context().close();
  }
}

before(async () => {
  browser = await launch();
  await startDaemon();
});

after(async () => {
  await browser?.close();
  daemon?.kill('SIGTERM');
  if (daemon && daemon.exitCode === null) await new Promise((done) => daemon.once('exit', done));
  rmSync(directory, { recursive: true, force: true });
});

describe('a real daemon', () => {
  let job;

  it('shows a job from submission to its results', async () => {
    job = await submit();
    await on(`/job?id=${job}`, async (page) => {
      const end = page.getByText('succeeded', { exact: true }).first();
      await end.waitFor({ timeout: JOB_WAIT });
      for (const name of ['glibc', 'lifo'])
        await page.getByRole('rowheader', { name }).first().waitFor();
    });
  });

  it('lists it, and filters by what the address says', () =>
    on('/?state=succeeded&project=browser', async (page) => {
      await page.locator(`a[href*="${job}"]`).first().waitFor();
    }));

  it('clones it into the form', () =>
    on(`/submit?clone=${job}`, async (page) => {
      await page.getByText('table-churn').first().waitFor();
    }));

  it('fills the form from a preset', () =>
    on('/submit?preset=fits', async (page) => {
      await page
        .getByText(/classic-next/)
        .first()
        .waitFor();
      const chosen = await page.locator('select').evaluateAll((all) => all.map((s) => s.value));
      assert.ok(chosen.includes('fits'), `no select says fits: ${chosen}`);
    }));

  it('shows the host and the allocators', async () => {
    await on('/host', (page) => page.getByText('Huge pages').first().waitFor());
    await on('/allocators', (page) => page.getByRole('rowheader', { name: 'glibc' }).waitFor());
  });
});
