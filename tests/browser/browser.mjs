// Finds Chromium and the node modules; opens pages that record every console error and every
// violation of the Content-Security-Policy. Used by the browser tests and by web/screenshots.mjs.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const require = createRequire(path.join(root, 'web', 'package.json'));
export const CHROMIUM = process.env.HEAPMARK_CHROMIUM ?? '/usr/bin/chromium';

/** Why the browser cannot be used, or ''. */
export function missing() {
  if (!existsSync(CHROMIUM)) return `${CHROMIUM} is missing: apt install chromium`;
  try {
    require.resolve('playwright-core');
    require.resolve('axe-core');
  } catch {
    return 'web/node_modules is missing: run node web/npm-ready.mjs';
  }
  return '';
}

export function distDir() {
  const build = process.env.HEAPMARK_BUILD_DIR ?? path.join(root, 'build', 'release');
  return path.join(build, 'web', 'dist');
}

export async function launch() {
  const { chromium } = require('playwright-core');
  return chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page in a context of its own; page.faults collects what must stay empty. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  page.faults = [];
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') page.faults.push(`console: ${m.text()}`);
  });
  page.on('pageerror', (e) => page.faults.push(`error: ${e.message}`));
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) =>
      console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`),
    );
  });
  return page;
}
