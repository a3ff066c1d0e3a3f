// Builds the addon with node-gyp, as users do, and the preload library: node scripts/build-native.mjs [--optional]
// --optional: whatever is missing or fails, say so in one line and exit 0; everything then runs on the model.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildPreload, preloadLibrary, preloadSources } from './preload-library.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const optional = process.argv.includes('--optional');
const addon = join(root, 'build', 'Release', 'kvm_tdx.node');
const stamp = join(root, 'build', 'Release', 'kvm_tdx.stamp');

const say = (text) => console.log(`addon: ${text}`);
const stop = (text) => {
  say(`${text}; without it everything runs on the model`);
  process.exit(optional ? 0 : 1);
};

/** What the binary depends on. The Node version is not in it: Node-API is the same for all of them. */
function fingerprint() {
  const hash = createHash('sha256');
  const take = (path) =>
    hash
      .update(path)
      .update('\0')
      .update(readFileSync(join(root, path)))
      .update('\0');
  for (const folder of ['native/core', 'native/node']) {
    for (const name of readdirSync(join(root, folder)).sort()) take(join(folder, name));
  }
  for (const path of ['native/sources.txt', 'binding.gyp', 'scripts/build-native.mjs']) take(path);
  hash.update(readFileSync(require.resolve('node-addon-api/package.json')));
  return hash.digest('hex');
}

const changed = (path) => statSync(resolve(root, path)).mtimeMs;

const onPath = (names) =>
  names.find((name) =>
    [...(process.env.PATH ?? '').split(delimiter), ''].some((folder) => {
      try {
        accessSync(resolve(folder, name), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  );

/** Version of the Node headers in `folder`, if it has what node-gyp wants. */
function headerVersion(folder) {
  if (!folder || !existsSync(join(folder, 'include/node/common.gypi'))) return undefined;
  const text = readFileSync(join(folder, 'include/node/node_version.h'), 'utf8');
  const number = (name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1];
  return `v${number('MAJOR')}.${number('MINOR')}.${number('PATCH')}`;
}

/** Headers on this machine, of this very Node if there are such; otherwise node-gyp downloads them. Node-API does not mind. */
function headers() {
  const folders = [
    process.env.npm_config_nodedir,
    resolve(dirname(process.execPath), '..'),
    process.config.variables.node_prefix,
    '/usr',
    '/usr/local',
  ];
  return (
    folders.find((folder) => headerVersion(folder) === process.version) ??
    folders.find((folder) => headerVersion(folder) !== undefined)
  );
}

if (process.platform !== 'linux' || process.arch !== 'x64') {
  stop(`not built, KVM for TDX is Linux on x64 only and this is ${process.platform} on ${process.arch}`);
}
let wanted;
try {
  wanted = fingerprint();
} catch (error) {
  stop(`not built, ${error.message}`);
}
const addonIsFresh = existsSync(addon) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted;
const preloadIsFresh =
  existsSync(preloadLibrary) && preloadSources.every((path) => changed(path) < changed(preloadLibrary));
if (addonIsFresh && preloadIsFresh) process.exit(0);

const chosen = process.env.CXX?.split(' ')[0];
const compiler = onPath(chosen ? [chosen] : ['c++', 'g++', 'clang++']);
if (!compiler) stop('not built, no C++ compiler was found');

if (!preloadIsFresh) {
  const failed = buildPreload(process.env.CXX || compiler);
  if (failed === undefined) {
    console.log('preload library: built');
  } else {
    process.stderr.write(failed.split('\n').slice(-60).join('\n'));
    console.log('preload library: the build failed, its last lines are above; without it there is no tdxctl with-mock');
    if (!optional) process.exitCode = 1;
  }
}
if (addonIsFresh) process.exit();

if (!onPath(['make', 'gmake'])) stop('not built, no make was found');
const nodeGyp = (() => {
  try {
    return require.resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return stop('not built, node-gyp is not installed (npm ci)');
  }
})();

const nodedir = headers();
say(`building, ${nodedir ? `headers of ${nodedir}` : `downloading the headers of Node ${process.version}`}`);
const build = spawnSync(
  process.execPath,
  [nodeGyp, 'rebuild', '-j', 'max', '--silent', ...(nodedir ? [`--nodedir=${nodedir}`] : [])],
  { cwd: root, encoding: 'utf8', env: { ...process.env, ...(nodedir && { npm_config_nodedir: nodedir }) } },
);
if (build.status !== 0) {
  process.stderr.write(`${build.stdout}${build.stderr}`.split('\n').slice(-60).join('\n'));
  stop('the build failed, its last lines are above');
}
writeFileSync(stamp, wanted);
say('built');
