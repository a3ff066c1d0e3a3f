// What is typed for a guest: standard input, key by key where it is a terminal.
import { ReadableStream } from 'node:stream/web';

/** Ctrl-], as in telnet and virsh: everything else is the guest's, Ctrl-C too. */
const QUIT = 0x1d;

export interface Typed {
  readonly stream: ReadableStream<Uint8Array>;
  /** Gives the terminal back as it was. Safe to call twice. */
  close(): void;
}

/** @param onQuit on a terminal, what Ctrl-] does. */
export function openTyped(stdin: NodeJS.ReadStream, onQuit: () => void): Typed {
  const terminal = stdin.isTTY === true;
  let unlisten = (): void => {};
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      const onData = (chunk: Buffer): void => {
        const quit = terminal ? chunk.indexOf(QUIT) : -1;
        const bytes = quit < 0 ? chunk : chunk.subarray(0, quit);
        if (bytes.length > 0) controller.enqueue(bytes);
        if (quit >= 0) onQuit();
        // A pipe waits for the guest; a terminal is read on, for the sake of Ctrl-].
        else if (!terminal && (controller.desiredSize ?? 0) <= 0) stdin.pause();
      };
      const onEnd = (): void => {
        unlisten();
        controller.close();
      };
      const onError = (error: Error): void => {
        unlisten();
        controller.error(error);
      };
      stdin.on('data', onData).on('end', onEnd).on('error', onError);
      unlisten = () => {
        stdin.off('data', onData).off('end', onEnd).off('error', onError);
      };
    },
    pull() {
      stdin.resume();
    },
  });
  if (terminal) stdin.setRawMode(true);
  return {
    stream,
    close() {
      unlisten();
      if (terminal) stdin.setRawMode(false);
      stdin.pause();
      stdin.unref?.();
    },
  };
}
