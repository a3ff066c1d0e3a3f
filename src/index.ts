export * from './kvm/index.js';
