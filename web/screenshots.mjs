// Pictures of every page for docs/images. usage: node web/screenshots.mjs [OUT_DIR]
//
// HEAPMARK_URL=http://127.0.0.1:7070/ HEAPMARK_JOB=UUID draws a daemon's real results; without
// them the made-up data of tests/browser is drawn. HEAPMARK_BUILD_DIR: where the bundle is.
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { distDir, launch, missing, openPage } from '../tests/browser/browser.mjs';
import { startFake } from '../tests/browser/fake_api.mjs';
import { JOB_ID, LIVE_ID, makeJob } from '../tests/browser/fixtures.mjs';

const HEIGHT_MAX = 1500; // the top of a long page is the picture
const here = path.dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? path.join(here, '..', 'docs', 'images');
const why = missing();
if (why) {
  console.error(`screenshots: ${why}`);
  process.exit(1);
}
const real = process.env.HEAPMARK_URL;
const fake = real ? null : await startFake(distDir());
if (fake) {
  fake.control.jobs.set('l', {
    ...makeJob(LIVE_ID),
    name: 'nightly',
    state: 'running',
    finished: null,
    progress: {
      steps_total: 200,
      steps_done: 74,
      steps_failed: 0,
      steps_discarded: 1,
      seconds_left: 61,
    },
  });
  fake.control.live = { done: 7, cancelled: false, stepMs: 60000, auto: false };
}
const base = real ?? fake.url;
const job = process.env.HEAPMARK_JOB ?? JOB_ID;
const light = { colorScheme: 'light' };
const pictures = [
  ['jobs', '', light],
  ['job', `job?id=${job}`, light],
  ['job-dark', `job?id=${job}`, { colorScheme: 'dark' }],
  ['job-narrow', `job?id=${job}`, { ...light, viewport: { width: 390, height: 844 } }],
  ['submit', 'submit', light],
  // The facts name the machine's kernel command line: the picture ends above them.
  ['host', 'host', light, '[aria-labelledby=facts-title]'],
  ['allocators', 'allocators', light],
];
if (fake) pictures.push(['job-live', `job?id=${LIVE_ID}`, light]);

await mkdir(out, { recursive: true });
const browser = await launch();
for (const [name, address, look, end] of pictures) {
  const page = await openPage(browser, look);
  await page.goto(new URL(address, base).href);
  await page.waitForSelector('main h1');
  await page.waitForTimeout(700);
  const { width, height } = await page.evaluate(
    (selector) => ({
      width: innerWidth,
      height: selector
        ? document.querySelector(selector).getBoundingClientRect().top + scrollY - 1
        : document.documentElement.scrollHeight,
    }),
    end,
  );
  await page.screenshot({
    path: path.join(out, `${name}.png`),
    fullPage: true,
    clip: { x: 0, y: 0, width, height: Math.min(height, HEIGHT_MAX) },
  });
  if (page.faults.length) console.error(name, page.faults);
  await page.context().close();
}
await browser.close();
await fake?.close();
