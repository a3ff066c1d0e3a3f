import { main } from '../dist/vectors/main.js';

process.exitCode = await main(process.argv.slice(2));
