import { interpreterEngine } from '../../src/mock/guest/interpreter/index.js';
import { describeEngine } from './engine-contract.js';

describeEngine('interpreter', interpreterEngine);
