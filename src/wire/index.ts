export { PreloadError } from './preload.js';
export { ProtocolError } from './protocol.js';
export { WireServer, type WireServerOptions } from './server.js';
export { mockEnvironment, type SpawnOptions, type SpawnResult, spawnWithMock } from './spawn.js';
export {
  diffTraces,
  type TraceChange,
  type TraceDiff,
  type TraceDifference,
  type TraceDiffOptions,
} from './trace/diff.js';
export { parseTrace } from './trace/normalise.js';
export { Recorder, type RequestRecord, type TraceRule } from './trace/record.js';
export { traceText } from './trace/text.js';
