// npm run bench: every figure beside its C twin or physical bound of the same run.
const only = process.argv.slice(2);
/** Takes minutes: not unless it is named. */
const ON_REQUEST = 'firmware';

for (const name of ['ioctl', 'exits', 'measure', 'model', 'guest', 'run-td', 'wire', 'cpuid', 'learn', 'cli']) {
  if (only.length > 0 && !only.includes(name)) continue;
  await import(`./${name}.mjs`);
}
if (only.includes(ON_REQUEST)) await import(`./${ON_REQUEST}.mjs`);
