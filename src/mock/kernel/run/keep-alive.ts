/** Keeps the event loop running while a vCPU waits for nothing that the process knows of. */
export function keepAlive(): Disposable {
  const timer = setInterval(() => {}, 0x7fff_ffff);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
