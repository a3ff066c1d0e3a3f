export { exitLine, type Facts } from './exit-text.js';
export { formatTrace, type TraceFormat, traceLine } from './format.js';
export { recordOfGuest, recordOfRun, recordOfSeamcall, type TraceRecord } from './record.js';
