// npm run bench: every figure beside its C twin or physical bound of the same run.
const only = process.argv.slice(2);

for (const name of ['ioctl', 'exits', 'measure', 'model', 'run-td', 'wire', 'cpuid', 'learn', 'cli']) {
  if (only.length > 0 && !only.includes(name)) continue;
  await import(`./${name}.mjs`);
}
