import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Console } from '../../../src/launch/index.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

async function read(console: Console): Promise<string> {
  let text = '';
  for await (const chunk of console.stream) text += Buffer.from(chunk).toString();
  return text;
}

describe('a console', () => {
  it('gives a reader what was written before, meanwhile and until its end', async () => {
    const console = new Console();
    console.write(bytes('one '));
    const all = read(console);
    await new Promise(setImmediate);
    console.write(bytes('two '));
    await new Promise(setImmediate);
    console.write(bytes('three'));
    console.end();
    expect(await all).toBe('one two three');
  });

  it('is a web stream like any other', async () => {
    const console = new Console();
    console.write(bytes('hello'));
    console.end();
    const [a, b] = console.stream.tee();
    expect(await text(a)).toBe('hello');
    expect(await text(b)).toBe('hello');
  });

  it('whatever the sizes of writes and the pace of the reader, loses and reorders nothing', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.uint8Array({ maxLength: 9 }), fc.boolean())), async (writes) => {
        const console = new Console({ full: 8, kept: 1 });
        const chunks: Uint8Array[] = [];
        const reader = console.stream.getReader();
        const reading = (async () => {
          for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value);
        })();
        for (const [data, pause] of writes) {
          console.write(data);
          if (pause || console.full) await console.room();
          if (pause) await new Promise(setImmediate);
        }
        console.end();
        await reading;
        expect(Buffer.concat(chunks)).toEqual(Buffer.concat(writes.map(([data]) => data)));
        expect(console.dropped).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('is full when a reader is slow, and there is room when he has read', async () => {
    const console = new Console({ full: 4 });
    const reader = console.stream.getReader();
    console.write(bytes('abc'));
    expect(console.full).toBe(false);
    console.write(bytes('d'));
    expect(console.full).toBe(true);
    let room = false;
    const waiting = console.room().then(() => {
      room = true;
    });
    await new Promise(setImmediate);
    expect(room).toBe(false);
    await reader.read();
    await waiting;
    expect(console.full).toBe(false);
  });

  it('has room again when its reader lets go of it, as soon as it is asked to look', async () => {
    const console = new Console({ full: 4 });
    const reader = console.stream.getReader();
    console.write(bytes('abcd'));
    const waiting = console.room();
    reader.releaseLock();
    console.resume();
    await waiting;
    expect(console.full).toBe(false);
    console.end();
    expect(await read(console)).toBe('abcd');
  });

  it('is never full without a reader: it keeps the end and counts what is gone', async () => {
    const console = new Console({ full: 1, kept: 5 });
    for (const text of ['abc', 'def', '', 'g']) console.write(bytes(text));
    expect([console.full, console.total, console.dropped]).toEqual([false, 7, 2]);
    console.end();
    expect(await read(console)).toBe('cdefg');
  });

  it('forgets what is written after its reader has left', async () => {
    const console = new Console({ full: 1 });
    const reader = console.stream.getReader();
    console.write(bytes('abc'));
    const room = console.room();
    await reader.cancel();
    await room;
    console.write(bytes('def'));
    expect([console.full, console.total]).toEqual([false, 6]);
  });
});
