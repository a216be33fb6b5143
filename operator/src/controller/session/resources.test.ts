import { describe, expect, test } from '@jest/globals';
import { resourcesOf } from './resources.ts';

const defaults = { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '1Gi' } };

describe('resourcesOf()', () => {
  const cases: readonly { name: string; said: Parameters<typeof resourcesOf>[0]; want: ReturnType<typeof resourcesOf> }[] = [
    {
      name: 'is the defaults when nothing is said',
      said: undefined,
      want: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '1Gi' } },
    },
    {
      name: 'keeps the defaults of what is not said',
      said: { limits: { cpu: 2 } },
      want: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '1Gi', cpu: '2' } },
    },
    {
      name: 'raises a default limit below what is asked for',
      said: { requests: { memory: '2Gi' } },
      want: { requests: { cpu: '50m', memory: '2Gi' }, limits: { memory: '2Gi' } },
    },
    {
      name: 'lowers a default request above the limit that is set',
      said: { limits: { memory: '64Mi', cpu: '20m' } },
      want: { requests: { cpu: '20m', memory: '64Mi' }, limits: { memory: '64Mi', cpu: '20m' } },
    },
    {
      name: 'leaves a contradiction of the user to the API server',
      said: { requests: { memory: '2Gi' }, limits: { memory: '1G' } },
      want: { requests: { cpu: '50m', memory: '2Gi' }, limits: { memory: '1G' } },
    },
  ];
  test.each(cases)('$name', ({ said, want }) => expect(resourcesOf(said, defaults)).toEqual(want));
});
