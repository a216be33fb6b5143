import { expect, test } from '@jest/globals';
import type { ApiCall } from '../harness/cluster-audit.ts';
import { writesByChange } from './api-writes.ts';

const call = (line: string): ApiCall => {
  const [by = '', verb = '', resource = '', name = ''] = line.split(' ');
  return { by, verb, resource, name, pod: '', code: 200, at: '' };
};

test('the writes of a wake and a sleep are told by the change that they belong to, and by who wrote', () => {
  const log = [
    'proxy create tokenreviews ',
    'delivery patch sessions s-1',
    'controller create pods s-1',
    'system:kube-scheduler create pods/binding s-1',
    'system:node:n create serviceaccounts/token dovecote-agent-a',
    'system:node:n patch pods/status s-1',
    'system:node:n create events s-1.18a',
    'controller patch sessions/status s-1',
    'delivery get sessions s-1',
    'controller patch agentgroups/status a',
    'delivery patch sessions s-1',
    'controller delete pods s-1',
    'system:node:n delete pods s-1',
    'controller patch sessions/status s-1',
    'delivery patch sessions s-2',
  ];
  expect(writesByChange(log.map(call), 's-1')).toEqual({
    asleepToWaking: 2,
    wakingToAwake: 1,
    awakeToDraining: 1,
    drainingToAsleep: 2,
    shared: 2,
    ofKubernetes: 4,
  });
});
