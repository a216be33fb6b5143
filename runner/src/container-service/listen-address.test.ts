import { expect, test } from '@jest/globals';
import { listenAddress, reachableHost } from './listen-address.ts';

test('the address of an IPv6 Pod is put into brackets, and never taken for a name', () => {
  expect(listenAddress('fd00::12:9090')).toEqual({ host: '[fd00::12]', port: '9090' });
  expect(listenAddress('[fd00::12]:9090')).toEqual({ host: '[fd00::12]', port: '9090' });
  expect(listenAddress('10.1.2.3:9090')).toEqual({ host: '10.1.2.3', port: '9090' });
});

test('who listens on every address is reached at one of its own', () => {
  for (const any of ['0.0.0.0:1', ':::1', '[::]:1']) expect(reachableHost(listenAddress(any).host)).not.toMatch(/^(0\.0\.0\.0|\[::\])$/);
  expect(reachableHost('10.1.2.3')).toBe('10.1.2.3');
});
