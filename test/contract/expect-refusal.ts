import { expect } from 'vitest';

/** A request of which the kernel says no, with this errno. */
export const expectErrno = (code: string, request: string, body: () => unknown): void =>
  expect(body).toThrow(expect.objectContaining({ name: 'KvmError', code, request, syscall: 'ioctl' }));

/** A misuse that never reaches the kernel. */
export const expectState = (code: string, body: () => unknown): void =>
  expect(body).toThrow(expect.objectContaining({ name: 'KvmStateError', code: `ERR_KVM_${code}` }));

/** What `body` throws; a test failure if it does not. */
export function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return expect.fail('nothing was thrown');
}
