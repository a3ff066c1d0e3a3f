import { writeFileSync } from 'node:fs';
import { Refusal } from '../mock/kernel/refusal.js';
import type { ObjectTable } from './object-table.js';
import type { WireObject } from './objects.js';
import { fallocate, mmap } from './operations.js';
import type { ProcessTask } from './process-memory.js';
import type { CallMessage, ResultMessage } from './protocol.js';
import { ioctl } from './requests/ioctl.js';
import { Call, type Result } from './requests/request.js';
import { RunPage } from './run-page.js';
import type { PieceMemory, Write } from './user-memory.js';

/** What a call is answered with. */
export interface Served {
  message: ResultMessage;
  /** Why it was refused. */
  refusal?: Refusal;
  /** What it made. */
  made?: WireObject;
}

const EBADF = 9;
const EIO = 5;

/** Everything that calls of all programs share. */
export interface Shared {
  readonly objects: ObjectTable;
  /** Where the pages of vCPUs are, with the socket. */
  readonly folder: string;
}

const failed = (errno: number, memory?: PieceMemory, refusal?: Refusal): Served => ({
  message: { result: BigInt(-errno), writes: memory?.writes ?? [] },
  ...(refusal && { refusal }),
});

/** A call as the request handlers see it. */
export function callOf(
  message: CallMessage,
  memory: PieceMemory,
  { objects }: Shared,
  task: ProcessTask,
  signal: AbortSignal,
): Call {
  const [named, isOpen] = message.operands;
  const descriptor = () => (named === 0n ? (isOpen === 1n ? 'foreign' : undefined) : objects.find(named));
  return new Call(message.arg, memory, task, descriptor, (fd) => task.eventfd(fd), signal, task.pid);
}

/** Answers a call. Throws for bugs of ours only, never for what a program can ask. */
export async function serve(
  object: WireObject | undefined,
  message: CallMessage,
  call: Call,
  memory: PieceMemory,
  shared: Shared,
): Promise<Served> {
  if (!object) return failed(EBADF);
  try {
    const result = operate(object, message, call);
    return keep(result instanceof Promise ? await result : result, message, memory, shared);
  } catch (error) {
    if (error instanceof Refusal) return failed(error.errno, memory, error);
    throw error;
  }
}

function operate(object: WireObject, message: CallMessage, call: Call): Result | Promise<Result> {
  switch (message.operation) {
    case 'ioctl':
      return ioctl(object, message.request, call);
    case 'fallocate':
      fallocate(object, message.operands);
      return 0;
    case 'mmap':
      mmap(object);
      return 0;
  }
}

/** Puts what a call made under the id that the program chose for it. */
function keep(result: Result, { newObject }: CallMessage, { writes }: PieceMemory, shared: Shared): Served {
  if (typeof result === 'number') return { message: { result: BigInt(result), writes } };
  try {
    if (newObject === 0n || shared.objects.has(newObject)) throw new Error('no id for what the call made');
    return 'file' in result
      ? keepFile(result.file, newObject, writes, shared)
      : keepObject(result.made, newObject, writes, shared);
  } catch {
    if ('made' in result) result.made.release();
    return failed(EIO);
  }
}

function keepFile(file: Uint8Array, id: bigint, writes: readonly Write[], { folder }: Shared): Served {
  writeFileSync(openFilePath(folder, id), file, { mode: 0o400, flag: 'wx' });
  return { message: { result: 0n, file: true, writes } };
}

function keepObject(made: WireObject, id: bigint, writes: readonly Write[], { folder, objects }: Shared): Served {
  if (made.kind === 'vcpu') made.page = new RunPage(runPagePath(folder, id));
  objects.add(id, made);
  return { message: { result: 0n, made: true, writes }, made };
}

/** A file that a program opens, and unlinks, as the descriptor that a request gave it. */
const openFilePath = (folder: string, id: bigint): string => `${folder}/file-${id.toString(16).padStart(16, '0')}`;

/** The file that a program maps as the pages of a vCPU. */
export const runPagePath = (folder: string, id: bigint): string => `${folder}/run-${id.toString(16).padStart(16, '0')}`;
