// Run through `make test`, which sets NODE_OPTIONS=--experimental-vm-modules: half of our dependencies are ESM only.
export default {
  testEnvironment: 'node',
  testMatch: ['<rootDir>/{proto,crds,operator,runner,e2e,hack}/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/', '/e2e/scenarios/cluster/'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2024', parser: { syntax: 'typescript' } }, module: { type: 'es6' } }] },
  // Workspaces are symlinks: without realpath-based ignore the transform would skip them as node_modules.
  transformIgnorePatterns: ['/node_modules/'],
  // For a machine that does much else beside: only a test that hangs ends here, a slow one does not.
  testTimeout: 300_000,
  // More than the cores of a small machine: much of what they do is to wait for other processes and for the disk.
  maxWorkers: 4,
  // Set by hack/test.ts, which needs each test's outcome.
  reporters: ['default', ...(process.env.DOVECOTE_TEST_RECORD ? ['<rootDir>/hack/record-reporter.mjs'] : [])],
};
