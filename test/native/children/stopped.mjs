// node stopped.mjs: a run that the parent stops and continues, which KVM answers with KVM_EXIT_INTR.
import { reach } from './stages.mjs';

const { vcpu, run, system } = await reach('running');
console.log('running');
const exit = await run;
console.log(JSON.stringify(exit));
const again = vcpu.run();
setTimeout(() => system.close(), 10);
console.log(JSON.stringify(await again.catch(({ code }) => code)));
