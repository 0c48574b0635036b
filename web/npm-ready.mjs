// Makes node_modules match package-lock.json. usage: node npm-ready.mjs
//
// Called by CMake before the bundle and the browser tests. Several build trees share one
// node_modules, so the work is skipped when it is already right (CMake holds a lock around it).
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const here = path.dirname(fileURLToPath(import.meta.url));
const stamp = path.join(here, 'node_modules', '.heapmark-lock-sha256');
const hash = createHash('sha256')
  .update(readFileSync(path.join(here, 'package-lock.json')))
  .digest('hex');
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== hash) {
  console.log('web: npm ci (chart library, bundler, browser test tools)');
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: here,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  writeFileSync(stamp, hash);
}
