// Every page in real Chromium: against the fake server with made-up data, or, with HEAPMARK_URL
// set, against a daemon (tests that need to steer the server are then skipped, by name).
//
// Each test ends with no console message and no CSP violation, or names the ones it caused.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { distDir, launch, openPage, require } from './browser.mjs';
import { startFake } from './fake_api.mjs';
import { FAILED_ID, HOSTILE_ID, JOB_ID, LIVE_ID, makeGroups, makeJob } from './fixtures.mjs';

const real = process.env.HEAPMARK_URL ?? '';
const fakeOnly = real ? { skip: 'needs the fake server' } : {};
const WAIT = 15000;

let browser;
let fake;
let base = real;
let job = process.env.HEAPMARK_JOB ?? JOB_ID;
const pages = () => ['', `job?id=${job}`, 'submit', 'host', 'allocators'];

async function realJob() {
  const list = await (await fetch(new URL('api/v1/jobs?state=succeeded&limit=1', base))).json();
  assert.ok(list.items.length, 'HEAPMARK_URL needs a finished job: heapmark run reference');
  return list.items[0].id;
}

before(async () => {
  browser = await launch();
  if (!real) fake = await startFake(distDir());
  base ||= fake.url;
  if (real && !process.env.HEAPMARK_JOB) job = await realJob();
});
after(async () => {
  await browser?.close();
  await fake?.close();
});
beforeEach(() => fake?.control.reset());

/** Opens an address, runs the test, and then demands silence of the console. */
async function on(address, run, options = {}, allowed = []) {
  const page = await openPage(browser, options);
  page.setDefaultTimeout(WAIT);
  try {
    await page.goto(new URL(address, base).href);
    await page.waitForSelector('main h1, main .notice, main .empty');
    await run(page);
    const loud = page.faults.filter((f) => !allowed.some((a) => a.test(f)));
    assert.deepEqual(loud, [], 'console and CSP must be silent');
  } finally {
    await page.context().close();
  }
}

const text = (page, selector) => page.locator(selector).innerText();
const NET = /Failed to load resource/; // Chromium's own line for a reply ≥ 400

async function axe(page) {
  await page.evaluate(require('axe-core').source);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { resultTypes: ['violations'] }),
  );
  return violations
    .filter((v) => ['serious', 'critical'].includes(v.impact))
    .map(
      (v) =>
        `${v.id}: ${v.nodes
          .slice(0, 3)
          .map((n) => n.html.slice(0, 140))
          .join(' | ')}`,
    );
}

const wide = (page) =>
  page.evaluate(
    () => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth,
  );

describe('every page', () => {
  for (const at of [0, 1, 2, 3, 4]) {
    const name = ['jobs', 'job', 'submit', 'host', 'allocators'][at];
    it(`${name}: loads, has a title and one h1`, () =>
      on(pages()[at], async (page) => {
        assert.equal(await page.locator('h1').count(), 1);
        assert.match(await page.title(), /heapmark$/);
      }));
    for (const colorScheme of ['light', 'dark'])
      it(`${name}: axe finds nothing serious, ${colorScheme}`, () =>
        on(
          pages()[at],
          async (page) => {
            await page.waitForTimeout(300);
            for (const d of await page.locator('details').all())
              await d.evaluate((n) => {
                n.open = true;
              });
            assert.deepEqual(await axe(page), []);
          },
          { colorScheme, bypassCSP: true },
        ));
    it(`${name}: nothing sticks out from 320 to 2560 px`, () =>
      on(pages()[at], async (page) => {
        for (const width of [320, 390, 768, 2560]) {
          await page.setViewportSize({ width, height: 800 });
          await page.waitForTimeout(150);
          assert.ok(
            (await wide(page)) <= 0,
            `${width} px: scrolls sideways by ${await wide(page)} px`,
          );
        }
      }));
    it(`${name}: dark follows the system`, () =>
      on(
        pages()[at],
        async (page) => {
          const paper = () =>
            page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
          const dark = await paper();
          await page.emulateMedia({ colorScheme: 'light' });
          assert.notEqual(await paper(), dark);
        },
        { colorScheme: 'dark' },
      ));
  }
  it('keyboard: skip link first, then navigation, focus visible', () =>
    on('', async (page) => {
      await page.keyboard.press('Tab');
      assert.equal(await page.evaluate(() => document.activeElement.className), 'skip');
      await page.keyboard.press('Enter');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
      await page.locator('nav a').first().focus();
      await page.keyboard.press('Tab');
      const outline = await page.evaluate(
        () => getComputedStyle(document.activeElement).outlineStyle,
      );
      assert.notEqual(outline, 'none');
    }));
  it('a reply of the page carries the CSP', fakeOnly, async () => {
    const reply = await fetch(base);
    assert.match(
      reply.headers.get('content-security-policy'),
      /default-src 'none'; script-src 'self'/,
    );
  });
});

describe('jobs', () => {
  it('lists and links a job', () =>
    on('', async (page) => {
      await page.locator('#jobs-table tbody a').first().click();
      await page.waitForURL(/job\?id=/);
    }));
  it('filters live in the URL', fakeOnly, () =>
    on('', async (page) => {
      await page.selectOption('#f-state', 'failed');
      await page.waitForSelector('.empty');
      assert.match(page.url(), /\?state=failed$/);
      assert.match(await text(page, '.empty'), /No job matches/);
      await page.reload();
      assert.equal(await page.inputValue('#f-state'), 'failed');
    }),
  );
  it('an empty server says what to do', fakeOnly, async () => {
    fake.control.jobs.clear();
    await on('', async (page) => {
      const words = await text(page, '.empty');
      assert.match(words, /heapmark submit reference/);
      assert.match(words, /curl -sS http:\/\/127\.0\.0\.1:\d+\/api\/v1\/jobs/);
    });
  });
  it('refreshes running jobs, keeps older pages', fakeOnly, async () => {
    const { jobs } = fake.control;
    jobs.clear();
    jobs.set(
      'r',
      makeJob('r', {
        state: 'running',
        progress: { steps_total: 10, steps_done: 1, steps_failed: 0, steps_discarded: 0 },
      }),
    );
    for (let i = 0; i < 60; i++)
      jobs.set(
        `j${i}`,
        makeJob(`j${i}`, {
          created: `2026-11-23T06:00:${String(59 - (i % 60)).padStart(2, '0')}.000Z`,
        }),
      );
    await on('', async (page) => {
      assert.equal(await page.locator('#jobs-table tbody tr').count(), 50);
      await page.click('#more');
      await page.waitForFunction(
        () => document.querySelectorAll('#jobs-table tbody tr').length === 61,
      );
      jobs.set(
        'r',
        makeJob('r', {
          state: 'running',
          progress: { steps_total: 10, steps_done: 7, steps_failed: 0, steps_discarded: 0 },
        }),
      );
      await page.waitForFunction(() =>
        document.querySelector('#jobs-table tbody tr').innerText.includes('7 of 10'),
      );
      assert.equal(await page.locator('#jobs-table tbody tr').count(), 61);
    });
  });
});

describe('job', () => {
  it('the article table: rows, units, direction, words', fakeOnly, () =>
    on(`job?id=${JOB_ID}`, async (page) => {
      const words = await text(page, '#article');
      for (const part of [
        'M pairs/s',
        '↑ higher is better',
        '↓ lower is better',
        'harness cost',
        'Peak heap',
        'at most, %',
        '× from 1 to 8 threads',
        'ideal 8.00×',
      ])
        assert.ok(words.includes(part), part);
      assert.equal(await page.locator('#article tbody tr').count(), 8);
      assert.match(await text(page, '.findings'), /no difference between them/);
      assert.match(await text(page, '.findings'), /peak heap \(table-churn, 8 threads\)/);
      const help = (name) => page.locator('#article th', { hasText: name }).getAttribute('title');
      assert.match(await help('Harness share'), /^An upper bound/);
      assert.match(await help('Peak heap'), /empty heap/);
    }),
  );
  it('charts are drawn and described', () =>
    on(`job?id=${job}`, async (page) => {
      await page.waitForSelector('.plot canvas');
      const plots = await page
        .locator('.plot')
        .evaluateAll((nodes) =>
          nodes.map((n) => [n.getAttribute('aria-label'), n.querySelector('canvas')?.width > 0]),
        );
      assert.ok(plots.length >= 1);
      for (const [label, drawn] of plots) assert.ok(label.length > 20 && drawn, label);
    }));
  it('the metric chosen changes chart and numbers; threads too', fakeOnly, () =>
    on(`job?id=${JOB_ID}`, async (page) => {
      await page.selectOption('#metric-0', 'minor_faults');
      assert.match(
        await text(page, '[aria-labelledby=family-0]'),
        /minor faults, .*faults \(↓ lower is better\)/,
      );
      await page.selectOption('#metric-0', 'pairs_per_s');
      await page.focus('#threads-0');
      await page.selectOption('#threads-0', '1');
      assert.match(await text(page, '[aria-labelledby=family-0]'), /1 thread, pages 4k/);
      assert.equal(
        await page.evaluate(() => document.activeElement.id),
        'threads-0',
        'focus stays on the control',
      );
    }),
  );
  it('hiding a line keeps the colours', fakeOnly, () =>
    on(`job?id=${JOB_ID}`, async (page) => {
      const swatch = () =>
        page
          .locator('.legend canvas')
          .nth(1)
          .evaluate((c) => c.toDataURL());
      const was = await swatch();
      await page.locator('.legend button').first().click();
      assert.equal(
        await page.locator('.legend button').first().getAttribute('aria-pressed'),
        'false',
      );
      assert.equal(await swatch(), was);
    }),
  );
  it('failures name the signal and how far, discards the reason', fakeOnly, () =>
    on(`job?id=${JOB_ID}`, async (page) => {
      await page.waitForSelector('#failures');
      const words = await text(page, '#failures');
      assert.match(words, /SIGSEGV \(11\), 61 of 100 turns done/);
      assert.match(words, /pages_unavailable/);
      assert.match(await text(page, '#discards'), /77\s+steal time 3\.1% above 1%/);
    }),
  );
  it('isolation, housekeeping and builds are told', () =>
    on(`job?id=${job}`, async (page) => {
      await page.waitForSelector('#environment-title');
      const words = await text(page, '[aria-labelledby=environment-title]');
      assert.match(words, /Level reached/);
      assert.match(words, /Housekeeping CPU/);
      assert.match(words, /SHA-256/i);
    }));
  it('what was measured alone and what was given up is told', fakeOnly, () =>
    on(`job?id=${JOB_ID}`, async (page) => {
      await page.waitForSelector('.alone', { state: 'attached' });
      const words = await page.locator('.alone').allTextContents();
      assert.match(words[0], /outside its turns, measured alone: .*\(3\.4 %\)/);
      assert.match(await text(page, 'main'), /1 discarded, 3 given up\./);
    }),
  );
  it('a page mode that failed is shown with its reason', fakeOnly, () =>
    on(`job?id=${JOB_ID}`, async (page) => {
      assert.match(await text(page, '#table-2'), /hugetlb-1g[\s\S]*no free 1 GiB pages/);
    }),
  );
  for (const format of ['json', 'csv', 'ndjson'])
    it(`exports ${format}`, () =>
      on(`job?id=${job}`, async (page) => {
        const [file] = await Promise.all([
          page.waitForEvent('download'),
          page.click(`#export-${format}`),
        ]);
        assert.match(file.suggestedFilename(), new RegExp(`^heapmark-.*\\.${format}$`));
      }));
  it('an unknown id is said', () =>
    on(
      'job?id=00000000-0000-7000-8000-000000000000',
      async (page) => {
        assert.match(await text(page, '.notice'), /Not found|no job/i);
      },
      {},
      [NET],
    ));
  it('no id at all', () =>
    on('job', async (page) => assert.match(await text(page, 'main'), /Which job\?/)));
  it('a failed job shows its error and field', fakeOnly, async () => {
    fake.control.jobs.set(
      FAILED_ID,
      makeJob(FAILED_ID, {
        state: 'failed',
        error: {
          code: 'EXHAUSTED',
          field: '/limits/memory_bytes',
          message: 'the ring needs 3.1 GiB',
        },
      }),
    );
    await on(`job?id=${FAILED_ID}`, async (page) => {
      assert.match(
        await text(page, '.notice.bad'),
        /EXHAUSTED at \/limits\/memory_bytes\s+the ring needs 3\.1 GiB/,
      );
    });
  });
});

describe('live job', fakeOnly, () => {
  const url = `job?id=${LIVE_ID}`;
  const state = (page) => page.waitForSelector('h1 .state.succeeded');
  it('follows the stream to the end', () =>
    on(url, async (page) => {
      await page.waitForSelector('section.live progress');
      assert.match(await text(page, 'section.live'), /about \d+ s left/);
      await state(page);
      await page.waitForSelector('#article');
      assert.match(await text(page, '#job-progress'), /20 of 20 steps done/);
      assert.equal(fake.control.streams.length, 1);
      assert.match(await page.locator('#announce').textContent(), /Job succeeded/);
      await page.waitForSelector('#environment-title');
    }));
  it('fills the matrix while it runs', async () => {
    fake.control.live = { done: 5, cancelled: false, stepMs: 20, auto: false };
    await on(url, async (page) => {
      await page.waitForSelector('.matrix .dot.ok');
      assert.match(await text(page, '#matrix'), /table-cold · 8 threads · 4k/);
    });
  });
  it('reconnects where it ended', async () => {
    fake.control.dropAfter = 3;
    await on(url, async (page) => {
      await state(page);
      assert.deepEqual(fake.control.streams, [0, 3], 'the second stream starts after the last id');
    });
  });
  it('reconnects where it broke, losing nothing it saw', async () => {
    fake.control.dropAfter = 3;
    fake.control.dropHard = true;
    await on(
      url,
      async (page) => {
        await state(page);
        const [first, second, more] = fake.control.streams;
        assert.equal(first, 0);
        // A reset may take the last bytes with it, never more than what was sent.
        assert.ok(second >= 0 && second <= 3, `resumed after ${second}`);
        assert.equal(more, undefined);
      },
      {},
      [NET, /ERR_INCOMPLETE_CHUNKED_ENCODING/],
    );
  });
  it('falls back to polling and says so', async () => {
    fake.control.streamFails = 1000;
    fake.control.live = { done: 4, cancelled: false, stepMs: 20, auto: false };
    await on(
      url,
      async (page) => {
        await page.waitForFunction(() =>
          document
            .getElementById('stream-status')
            ?.textContent.includes('reading the job every 3 s'),
        );
        fake.control.live.done = 20;
        await state(page);
      },
      {},
      [NET],
    );
  });
  it('cancels, once', () =>
    on(url, async (page) => {
      fake.control.live.stepMs = 200;
      await page.click('#cancel');
      await page.waitForSelector('h1 .state.cancelled');
      assert.equal(fake.control.requests.filter((r) => r.url.endsWith('/cancel')).length, 1);
      assert.equal(await page.locator('#cancel').count(), 0);
    }));
});

describe('submit', () => {
  it('prices, shows JSON, curl and the command', () =>
    on('submit', async (page) => {
      await page.waitForSelector('#cost .big');
      assert.deepEqual(JSON.parse(await text(page, '#json')), {
        preset: 'reference',
        profile: 'quick',
      });
      assert.match(await text(page, '#curl'), /curl -sS -X POST http/);
      assert.match(await text(page, '#cli'), /heapmark submit reference --profile quick/);
    }));
  it('builds the form from the parameter rows', fakeOnly, () =>
    on('submit', async (page) => {
      await page.selectOption('#preset', '');
      await page.getByText('Choose a preset or add a workload').waitFor();
      await page.selectOption('#add-workload', 'table-churn');
      await page.click('#add');
      const entry = page.locator('.entry');
      const words = await entry.innerText();
      for (const part of [
        'Share of blocks freed by another thread. 0 to 100. Default 1.',
        'remote pct %',
        '1 B to 1 MiB',
        'none',
        'ends',
        'full',
      ])
        assert.ok(words.includes(part), part);
      await entry.getByLabel('remote pct').fill('0, 10');
      await entry.getByLabel('size max bytes').fill('4 KiB');
      await entry.getByLabel('full').check();
      await entry.getByLabel('Threads').fill('1, max');
      assert.deepEqual(JSON.parse(await text(page, '#json')).workloads, [
        {
          workload: 'table-churn',
          params: { remote_pct: [0, 10], size_max_bytes: 4096, touch: 'full' },
          threads: [1, 'max'],
        },
      ]);
    }),
  );
  it('an unavailable allocator is disabled and names the package', fakeOnly, () =>
    on('submit', async (page) => {
      const box = page.getByLabel('scudo');
      assert.equal(await box.isDisabled(), true);
      assert.match(await text(page, '#submit-form'), /apt install libclang-rt-14-dev/);
    }),
  );
  it('allocators and options become subjects, the reference follows', fakeOnly, () =>
    on('submit', async (page) => {
      await page.getByLabel('jemalloc').check();
      await page.getByLabel('+ thp-off').check();
      await page.getByLabel('glibc').check();
      assert.deepEqual(JSON.parse(await text(page, '#json')).allocators, [
        'glibc',
        'jemalloc',
        { name: 'jemalloc', options: ['thp-off'] },
      ]);
      assert.deepEqual(await page.locator('#reference option').allInnerTexts(), [
        'the server’s choice',
        'glibc',
        'jemalloc',
        'jemalloc+thp-off',
      ]);
    }),
  );
  it('an error of the server stands at its field and is focused', fakeOnly, () =>
    on(
      'submit',
      async (page) => {
        await page.selectOption('#preset', '');
        await page.selectOption('#add-workload', 'table-churn');
        await page.click('#add');
        const input = page.getByLabel('remote pct');
        await input.fill('1, 200');
        await page.click('#send');
        const error = page.locator('[data-pointer="/workloads/0/params/remote_pct"] .error');
        await page.waitForFunction(
          (n) => n.textContent.includes('200 is outside 0..100'),
          await error.elementHandle(),
        );
        assert.equal(await input.getAttribute('aria-invalid'), 'true');
        assert.equal(await input.evaluate((n) => n === document.activeElement), true);
        const described = await input.getAttribute('aria-describedby');
        assert.ok(described.includes(await error.getAttribute('id')));
        await input.fill('1, 20');
        await page.waitForFunction((n) => n.textContent === '', await error.elementHandle());
        await page.waitForSelector('#cost .big');
        assert.equal(fake.control.posted.length, 0);
      },
      {},
      [NET],
    ),
  );
  it('an error without a field stands by the button', fakeOnly, () =>
    on(
      'submit',
      async (page) => {
        await page.getByLabel('Name').fill('refuse');
        await page.click('#send');
        await page.waitForSelector('#submit-problem .notice');
        assert.match(await text(page, '#submit-problem'), /the queue holds 1000 jobs/);
        assert.equal(await page.isEnabled('#send'), true);
      },
      {},
      [NET],
    ),
  );
  it('sends JSON with an idempotency key, then shows the job', fakeOnly, () =>
    on('submit', async (page) => {
      await page.click('#send');
      await page.waitForURL(/job\?id=/);
      assert.equal(fake.control.posted.length, 1);
      const [sent] = fake.control.posted;
      assert.match(sent.key, /^[0-9a-f]{32}$/);
      assert.equal(sent.type, 'application/json');
      assert.deepEqual(sent.body, { preset: 'reference', profile: 'quick' });
    }),
  );
  it('by keyboard alone', fakeOnly, () =>
    on('submit', async (page) => {
      await page.waitForSelector('#send');
      await page.focus('#preset');
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab');
        if (await page.evaluate(() => document.activeElement.id === 'send')) break;
      }
      assert.equal(
        await page.evaluate(() => document.activeElement.id),
        'send',
        'Tab reaches the button',
      );
      await page.keyboard.press('Enter');
      await page.waitForURL(/job\?id=/);
    }),
  );
  it('clone brings the specification back', fakeOnly, () =>
    on(`submit?clone=${JOB_ID}`, async (page) => {
      const body = JSON.parse(await text(page, '#json'));
      assert.deepEqual(body.workloads, [
        {
          workload: 'table-churn',
          params: { remote_pct: [0, 1], live: 100000 },
          threads: [1, 8],
          pages: ['4k'],
        },
      ]);
      assert.deepEqual(body.allocators, ['glibc', { name: 'jemalloc', options: ['thp-off'] }]);
      assert.equal(body.seed, 1);
      assert.match(await text(page, '.notice'), /A copy of/);
    }),
  );
  it('a preset can be edited', fakeOnly, () =>
    on('submit', async (page) => {
      await page.click('#customise');
      await page.locator('.entry').first().waitFor();
      assert.equal(await page.locator('.entry').count(), 5);
      const body = JSON.parse(await text(page, '#json'));
      assert.equal(body.preset, undefined);
      await page.locator('.entry').first().getByRole('button', { name: 'Remove' }).click();
      assert.equal(JSON.parse(await text(page, '#json')).workloads.length, 4);
    }),
  );
});

describe('host and allocators', () => {
  it('draws the topology with the CPUs jobs use', fakeOnly, () =>
    on('host', async (page) => {
      assert.equal(await page.locator('.topology .pu').count(), 16);
      assert.equal(await page.locator('.topology .pu.used').count(), 15);
      assert.match(await text(page, 'main'), /1 package, 8 cores, 16 CPUs/);
      assert.match(await text(page, '#pools'), /2 MiB\s+256/);
      assert.match(await text(page, '#cgroups'), /hugetlb\s+not usable\s+not delegated/);
    }),
  );
  it('lists builds and what to install', fakeOnly, () =>
    on('allocators', async (page) => {
      assert.match(
        await text(page, '#kind-allocator'),
        /scudo[\s\S]*unavailable\s+library not found: apt install libclang-rt-14-dev/,
      );
      assert.match(await text(page, '#kind-baseline'), /null/);
    }),
  );
});

describe('hostile values', fakeOnly, () => {
  const evil =
    '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>';
  const texts = [
    evil,
    '\u202egnp.exe\u2066',
    'x'.repeat(10000),
    "';alert(1)//",
    '{{7*7}}',
    '\u0000\u0007\u001b[31m',
    '"><svg/onload=1>',
    '__proto__',
  ];
  for (const value of texts)
    it(`${JSON.stringify(value.slice(0, 24))} stays text on jobs, job and clone`, async () => {
      const { jobs } = fake.control;
      const groups = makeGroups();
      for (const g of groups) {
        g.params_key = value;
        g.cells[1].subject = value;
        g.cells[1].last_failure = value;
        g.cells[1].trials.failed = 1;
      }
      jobs.set(`${HOSTILE_ID}:groups`, groups);
      jobs.set(
        HOSTILE_ID,
        makeJob(HOSTILE_ID, {
          name: value,
          preset: value,
          profile: value,
          principal: value,
          state: 'failed',
          labels: { project: value, branch: value, commit: value, tag: value },
          error: { code: value, field: value, message: value },
        }),
      );
      for (const at of ['', `job?id=${HOSTILE_ID}`, `submit?clone=${HOSTILE_ID}`])
        await on(
          at,
          async (page) => {
            if (at.startsWith('job')) await page.waitForSelector('#environment-title');
            assert.equal(await page.locator('main img, main script, main svg').count(), 0);
            assert.doesNotMatch(await page.title(), /^owned/);
            assert.ok((await wide(page)) <= 0, 'nothing sticks out');
          },
          { viewport: { width: 600, height: 800 } },
        );
    });
});

describe('errors and tokens', fakeOnly, () => {
  for (const [address, part] of [
    ['', 'jobs'],
    [`job?id=${JOB_ID}`, `jobs/${JOB_ID}`],
    ['submit', 'workloads'],
    ['host', 'host'],
    ['allocators', 'allocators'],
  ])
    it(`500 on ${part}: cause, request id, try again`, async () => {
      fake.control.fail = (_, url) => url.pathname === `/api/v1/${part}`;
      await on(
        address,
        async (page) => {
          const words = await text(page, '.notice.bad');
          assert.match(words, /Internal error\s+the database said no/);
          assert.match(words, /Request id req-1/);
          fake.control.fail = null;
          await page.getByRole('button', { name: 'Try again' }).click();
          await page.waitForFunction(() => !document.querySelector('.notice.bad'));
          await page.waitForSelector('h1');
        },
        {},
        [NET],
      );
    });
  it('results failing leave the rest of the job page', async () => {
    fake.control.fail = (_, url) => url.pathname.endsWith('/results');
    await on(
      `job?id=${JOB_ID}`,
      async (page) => {
        assert.match(await text(page, '#job-results .notice'), /Internal error/);
        assert.match(await text(page, 'h1'), /succeeded/);
      },
      {},
      [NET],
    );
  });
  it('asks for a token, keeps it in the session only, sends it everywhere', async () => {
    fake.control.token = 'hmk_secret';
    await on(
      '',
      async (page) => {
        await page.waitForSelector('#token-dialog[open]');
        await page.fill('#token-input', 'hmk_wrong');
        await page.keyboard.press('Enter');
        await page.waitForFunction(() =>
          document.querySelector('#token-dialog .bad')?.textContent.includes('does not accept'),
        );
        await page.fill('#token-input', 'hmk_secret');
        await page.keyboard.press('Enter');
        await page.waitForSelector('#jobs-table');
        assert.ok(!page.url().includes('hmk_'));
        const kept = await page.evaluate(() => [
          sessionStorage.getItem('heapmark-token'),
          localStorage.length,
          document.cookie,
        ]);
        assert.deepEqual(kept, ['hmk_secret', 0, '']);
        await page.goto(new URL(`job?id=${LIVE_ID}`, base).href);
        await page.waitForSelector('h1 .state.succeeded');
        const events = fake.control.requests.find((r) => r.url.includes('/events'));
        assert.equal(events.headers.authorization, 'Bearer hmk_secret');
        const [file] = await Promise.all([
          page.waitForEvent('download'),
          page.click('#export-csv'),
        ]);
        assert.ok(file);
        await page.click('#token-button');
        await page.getByRole('button', { name: 'Forget token' }).click();
        await page.waitForSelector('#token-dialog[open]');
        assert.equal(await page.evaluate(() => sessionStorage.getItem('heapmark-token')), null);
      },
      {},
      [NET],
    );
  });
  it('a server that does not answer', async () => {
    await on(
      'host',
      async (page) => {
        await page.route('**/api/v1/**', (route) => route.abort());
        await page.goto(new URL('submit', base).href);
        await page.waitForSelector('.notice.bad');
        assert.match(await text(page, '.notice.bad'), /Is heapmarkd running\?/);
      },
      {},
      [NET],
    );
  });
});
