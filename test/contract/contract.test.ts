// The conformance suite of the seam: what every implementation of KvmSystem has to do.
import { describe } from 'vitest';
import { argumentContract } from './arguments.js';
import type { Backend } from './backend.js';
import { closingContract } from './closing.js';
import { exitContract } from './exits.js';
import { interruptionContract } from './interruption.js';
import { memoryContract } from './memory.js';
import { nativeBackend } from './native-backend.js';
import { objectContract } from './objects.js';
import { tdContract } from './tds.js';

const backends: Backend[] = [nativeBackend];

describe.each(backends)('$name', (backend) => {
  describe.skipIf(backend.unavailable !== undefined)('keeps the contract', () => {
    objectContract(backend);
    memoryContract(backend);
    argumentContract(backend);
    closingContract(backend);
    describe.skipIf(!backend.runsGuests)('with a guest', () => {
      exitContract(backend);
      interruptionContract(backend);
    });
    describe.skipIf(!backend.runsTds)('with a TD', () => tdContract(backend));
  });
});
