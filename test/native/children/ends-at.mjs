// node ends-at.mjs STAGE END: ends the process at a stage of the backend's life.
import { reach } from './stages.mjs';

const [stage, end] = process.argv.slice(2);
const opened = await reach(stage);

const ends = {
  'by itself': () => stage === 'running' && setTimeout(() => opened.system.close(), 10),
  'process.exit': () => process.exit(7),
  throw: () => {
    throw new Error('uncaught on purpose');
  },
  'unhandled rejection': () => void Promise.reject(new Error('unhandled on purpose')),
  SIGTERM: () => {
    process.kill(process.pid, 'SIGTERM');
    setInterval(() => {}, 1000);
  },
  'close in an exit handler': () => {
    process.on('exit', () => opened.system.close());
    process.exit(7);
  },
  'use in an exit handler': () => {
    process.on('exit', () => opened.system.closed || opened.system.checkExtension(1));
    process.exit(7);
  },
};
ends[end]();
