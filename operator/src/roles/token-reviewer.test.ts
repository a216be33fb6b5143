import { describe, expect, test } from '@jest/globals';
import { callerOfUser } from './token-reviewer.ts';

const names = { namespace: 'agents', install: 'dovecote', agentAccountPrefix: 'dovecote-agent-' };
const pod = { 'authentication.kubernetes.io/pod-name': ['assistant-abc'], 'authentication.kubernetes.io/pod-uid': ['u1'] };

describe('whom a reviewed token names', () => {
  test('a role, by its service account', () => {
    expect(callerOfUser({ username: 'system:serviceaccount:agents:dovecote-gateway' }, names)).toEqual({ type: 'role', role: 'gateway' });
  });
  test("a session, by the Pod of an agent's account", () => {
    expect(callerOfUser({ username: 'system:serviceaccount:agents:dovecote-agent-assistant', extra: pod }, names)).toEqual({
      type: 'session',
      session: 'assistant-abc',
      podUid: 'u1',
      agentGroup: 'assistant',
    });
  });
  test.each([
    ['a token that no kubelet made for a Pod', 'system:serviceaccount:agents:dovecote-agent-assistant', {}],
    ['an account of another namespace', 'system:serviceaccount:other:dovecote-gateway', {}],
    ['an account that is not ours', 'system:serviceaccount:agents:default', pod],
    ['a person', 'alice', pod],
  ])('nobody, for %s', (_, username, extra) => {
    expect(callerOfUser({ username, extra }, names)).toBeUndefined();
  });
});
