import { expect } from 'vitest';
import { KvmError, KvmStateError } from '../../src/kvm/index.js';

/** What `action` throws; a test failure if it does not. */
export function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return expect.fail('nothing was thrown');
}

export function expectKvmError(action: () => unknown, code: string, request: string): KvmError {
  const error = thrownBy(action);
  expect(error).toBeInstanceOf(KvmError);
  expect(error).toMatchObject({ code, request });
  return error as KvmError;
}

export function expectStateError(action: () => unknown, code: KvmStateError['code']): void {
  const error = thrownBy(action);
  expect(error).toBeInstanceOf(KvmStateError);
  expect(error).toMatchObject({ code });
}
