import { ReadableStream } from 'node:stream/web';
import { describe, expect, it } from 'vitest';
import { runVcpus, type TdRunOptions } from '../../../src/launch/index.js';
import { fakes, inb, out, type Script } from './fake-vcpu.js';

const [DATA, STATUS, MODEM_CONTROL, LINE_CONTROL] = [0x3f8, 0x3fd, 0x3fc, 0x3fb];
const [SENT, DATA_READY] = [0x60, 1];

const from = (...chunks: string[]): ReadableStream<Uint8Array> =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(Buffer.from(chunk));
      controller.close();
    },
  });

/** Reads a register: what a guest does with IN. */
function* read(port: number): Generator<ReturnType<typeof inb>, number, { data?: Uint8Array }> {
  const { data } = yield inb(port);
  return data![0]!;
}

/** Polls as a driver without interrupts does. */
function* receive(count: number): Generator<ReturnType<typeof inb>, string, { data?: Uint8Array }> {
  let text = '';
  while (text.length < count) {
    if (((yield* read(STATUS)) & DATA_READY) !== 0) text += String.fromCharCode(yield* read(DATA));
  }
  return text;
}

async function told(guest: (say: (value: unknown) => void) => Script, options: TdRunOptions) {
  const values: unknown[] = [];
  const { vcpus } = fakes(() =>
    (function* (): Script {
      yield* guest((value) => values.push(value));
      yield out(0xf4, 0);
    })(),
  );
  const outcome = await runVcpus({ vcpus }, { timeout: 5000, ...options });
  expect(outcome.how).toBe('exit-port');
  return values;
}

describe('input for the console', () => {
  it('comes byte for byte, in order, when the guest polls for it', async () => {
    const values = await told(
      function* (say) {
        say(yield* receive(6));
        say(yield* read(STATUS));
        say(yield* read(DATA));
      },
      { input: from('ab', '', 'cdef') },
    );
    expect(values).toEqual(['abcdef', SENT, 0]);
  });

  it('is not lost however long it is: the port takes what the guest takes', async () => {
    const text = 'x'.repeat(3000) + 'y'.repeat(3000);
    expect(
      await told(
        function* (say) {
          say(yield* receive(6000));
        },
        { input: from(text.slice(0, 3000), text.slice(3000)) },
      ),
    ).toEqual([text]);
  });

  it('stays outside of loopback, and the divisor latch shows the divisor', async () => {
    const values = await told(
      function* (say) {
        say(yield* receive(1));
        yield out(MODEM_CONTROL, 0x10);
        say(yield* read(STATUS));
        yield out(DATA, 0x55);
        say([yield* read(STATUS), yield* read(DATA), yield* read(DATA)]);
        yield out(MODEM_CONTROL, 0);
        yield out(LINE_CONTROL, 0x80);
        say(yield* read(DATA));
        yield out(LINE_CONTROL, 0x03);
        say(yield* receive(1));
      },
      { input: from('AB') },
    );
    expect(values).toEqual(['A', SENT, [SENT | DATA_READY, 0x55, 0], 1, 'B']);
  });

  it('that the guest did not take is left to its owner', async () => {
    const input = from('ab', 'cd', 'ef');
    await told(
      function* (say) {
        say(yield* receive(2));
      },
      { input },
    );
    const reader = input.getReader();
    const rest: Uint8Array[] = [];
    for (let next = await reader.read(); !next.done; next = await reader.read()) rest.push(next.value);
    // A chunk that was begun is the port's.
    expect(['cdef', 'ef']).toContain(Buffer.concat(rest).toString());
  });

  it('that never comes holds up no end', async () => {
    const input = new ReadableStream<Uint8Array>({});
    expect(
      await told(
        function* (say) {
          say(yield* read(STATUS));
        },
        { input },
      ),
    ).toEqual([SENT]);
    expect(input.locked).toBe(false);
  });

  it('that fails ends the run, and its error is the run’s', async () => {
    const error = new Error('the terminal is gone');
    const { vcpus } = fakes(function* (): Script {
      for (;;) yield inb(STATUS);
    });
    const input = new ReadableStream<Uint8Array>({
      pull() {
        throw error;
      },
    });
    await expect(runVcpus({ vcpus }, { input })).rejects.toBe(error);
  });

  it.each<[string, TdRunOptions, RegExp]>([
    ['text', { input: 'text' as never }, /options\.input must be a ReadableStream of bytes/],
    ['a console that is not there', { input: from(), consolePort: false }, /options\.input needs a console/],
  ])('%s is refused', async (_, options, text) => {
    await expect(runVcpus({ vcpus: [] }, options)).rejects.toThrow(text);
  });

  it('a stream that somebody else reads is refused', async () => {
    const input = from('a');
    input.getReader();
    await expect(runVcpus({ vcpus: [] }, { input })).rejects.toThrow('options.input has a reader already');
  });
});
