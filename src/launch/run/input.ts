import type { ReadableStream } from 'node:stream/web';
import type { Uart } from './uart.js';

/**
 * Gives a serial port what `input` has, as the guest reads it, until `ended` settles. The stream is not closed: what was not
 * taken is for its next reader.
 * @throws what the stream fails with
 */
export async function feed(input: ReadableStream<Uint8Array>, uart: Uart, ended: Promise<void>): Promise<void> {
  const reader = input.getReader();
  const over = ended.then(() => undefined);
  try {
    for (;;) {
      const next = await Promise.race([over, reader.read()]);
      if (!next || next.done) return;
      const taken = uart.receive(next.value).then(() => true);
      if (!(await Promise.race([over, taken]))) return;
    }
  } finally {
    reader.releaseLock();
  }
}
