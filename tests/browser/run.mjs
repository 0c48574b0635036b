// Runs one of the suites for ctest. usage: node run.mjs unit|pages|real
//
// Exit code 77 (skipped), with the reason, when Chromium or the node modules are missing.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { missing } from './browser.mjs';

const suite = process.argv[2];
if (!['unit', 'pages', 'real'].includes(suite)) {
  console.error('usage: node run.mjs unit|pages|real');
  process.exit(2);
}
const why = suite !== 'unit' ? missing() : '';
if (why) {
  console.log(`skipped: ${why}`);
  process.exit(77);
}
const file = path.join(path.dirname(fileURLToPath(import.meta.url)), `${suite}.test.mjs`);
const { status } = spawnSync(process.execPath, ['--test', file], { stdio: 'inherit' });
process.exit(status ?? 1);
