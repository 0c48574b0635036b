// Bundles the pages into one flat folder. usage: node build.mjs OUT_DIR
//
// Called by CMake (web/CMakeLists.txt) and by hand. Names are fixed, because the list of embedded
// files is known when CMake configures; the daemon sends a strong ETag of each file's content.
// No source maps: the pages are small, and `--dev` leaves the code readable.
import { mkdir, copyFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { build } from 'esbuild';

const here = path.dirname(fileURLToPath(import.meta.url));
const args = process.argv.slice(2);
const given = args.find((a) => !a.startsWith('--'));
if (!given) {
  console.error('usage: node build.mjs OUT_DIR [--dev]');
  process.exit(2);
}
const out = path.resolve(given);
const minify = !args.includes('--dev');
const common = {
  absWorkingDir: here,
  bundle: true,
  minify,
  format: 'esm',
  target: ['es2022'],
  charset: 'utf8',
  legalComments: 'inline',
  logLevel: 'warning',
};

await mkdir(out, { recursive: true });
// charts.js is a file of its own, loaded by the pages that draw: the others stay light.
await build({
  ...common,
  entryPoints: ['src/main.js'],
  outfile: path.join(out, 'app.js'),
  external: ['./charts.js'],
});
await build({ ...common, entryPoints: ['src/charts.js'], outfile: path.join(out, 'charts.js') });
await build({ ...common, entryPoints: ['src/app.css'], outfile: path.join(out, 'app.css') });
for (const page of ['index', 'job', 'submit', 'host', 'allocators'])
  await copyFile(path.join(here, 'pages', `${page}.html`), path.join(out, `${page}.html`));
await copyFile(path.join(here, 'pages', 'favicon.svg'), path.join(out, 'favicon.svg'));
