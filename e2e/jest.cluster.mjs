// The scenarios on a real cluster: one after the other, since they share it.
import base from '../jest.config.mjs';

export default {
  ...base,
  rootDir: '..',
  testMatch: ['<rootDir>/e2e/scenarios/cluster/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  globalSetup: '<rootDir>/e2e/harness/cluster-setup.ts',
  maxWorkers: 1,
  testTimeout: 120_000,
};
