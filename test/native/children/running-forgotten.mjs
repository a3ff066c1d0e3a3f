// node --expose-gc running-forgotten.mjs: a run whose objects nobody holds goes on, and is reported.
import { reach } from './stages.mjs';

const run = (async () => {
  const { vcpu, vm } = await reach('mid-exit');
  const second = vm.createVcpu(1);
  second.setSregs({ ...vcpu.getSregs(), apicBase: second.getSregs().apicBase });
  second.setRegs({ ...vcpu.getRegs(), rip: 0x1004n });
  const abort = new AbortController();
  setTimeout(() => abort.abort('done'), 200);
  return second.run({ signal: abort.signal });
})().then(
  (exit) => exit.reason,
  (error) => `${error.name} ${error.cause}`,
);
for (let i = 0; i < 10; i++) {
  gc();
  await new Promise((resolve) => setTimeout(resolve, 5));
}
console.log(await run);
