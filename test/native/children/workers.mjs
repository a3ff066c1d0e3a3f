// node workers.mjs END: workers that end at each stage of the backend's life, while this thread uses it too.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { reach, STAGES } from './stages.mjs';

const ROUNDS = 2;

async function inWorker({ stage, end }) {
  const opened = await reach(stage);
  parentPort.postMessage('reached');
  if (end === 'process.exit') process.exit(7);
  if (end === 'throw') throw new Error('on purpose');
  if (end === 'by itself' && stage === 'running') setTimeout(() => opened.system.close(), 10);
  if (end === 'terminate') setInterval(() => {}, 1000);
}

/** The worker's exit code; rejects if it takes too long. */
const runWorker = (data) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: data, stderr: true });
    const late = setTimeout(() => reject(new Error(`a worker at ${data.stage} did not end`)), 5000);
    worker.on('message', () => data.end === 'terminate' && void worker.terminate());
    worker.on('error', (error) => error.message === 'on purpose' || reject(error));
    worker.on('exit', (code) => {
      clearTimeout(late);
      resolve(code);
    });
  });

async function main() {
  const end = process.argv[2];
  const mine = await reach('running');
  await runWorker({ stage: 'opened', end }); // what is made once per process
  const before = readdirSync('/proc/self/fd').length;
  const threads = readdirSync('/proc/self/task').length;
  const codes = {};
  for (const stage of STAGES) {
    codes[stage] = [];
    for (let i = 0; i < ROUNDS; i++) codes[stage].push(await runWorker({ stage, end }));
  }
  const result = {
    codes,
    descriptors: readdirSync('/proc/self/fd').length - before,
    threads: readdirSync('/proc/self/task').length - threads,
    mineRuns: mine.vcpu.running,
  };
  mine.system.close();
  console.log(JSON.stringify(result));
}

await (isMainThread ? main() : inWorker(workerData));
