import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { systemClock } from '../lib/clock.ts';
import { callerOfUser, clusterTokenReviewer } from './token-reviewer.ts';

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

describe('what is remembered of a review', () => {
  test('is forgotten when the token ends, or after a minute; who is refused is asked about each time', async () => {
    let reviews = 0;
    let authenticated = true;
    // A mock of the API server: what it answers to a TokenReview is the whole of it.
    const server = createServer((incoming, response) => {
      reviews += 1;
      incoming.resume();
      const username = 'system:serviceaccount:agents:dovecote-agent-assistant';
      const status = authenticated ? { authenticated, audiences: ['dovecote-proxy'], user: { username, extra: pod } } : { authenticated };
      response.writeHead(201, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: {}, status }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const config = new KubeConfig();
      config.loadFromClusterAndUser(
        { name: 'c', server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, skipTLSVerify: true },
        { name: 'u' },
      );
      let now = 1_000_000;
      const reviewer = clusterTokenReviewer(config, names, { ...systemClock, now: () => now });
      const token = (exp: number): string => `h.${Buffer.from(JSON.stringify({ exp })).toString('base64url')}.s`;
      const ending = token(1_030); // in 30 s
      const known = { type: 'session', session: 'assistant-abc', expiresAt: 1_030_000 };
      expect(await Promise.all([reviewer.review(ending, 'dovecote-proxy'), reviewer.review(ending, 'dovecote-proxy')])).toMatchObject([
        known,
        known,
      ]);
      now = 1_029_999;
      expect(await reviewer.review(ending, 'dovecote-proxy')).toMatchObject(known);
      expect(reviews).toBe(1);
      authenticated = false; // as a server says of a token that has ended
      now = 1_030_000;
      for (let time = 0; time < 2; time++) expect(await reviewer.review(ending, 'dovecote-proxy')).toBeUndefined();
      expect(reviews).toBe(3);

      authenticated = true;
      const lasting = token(9_999);
      expect(await reviewer.review(lasting, 'dovecote-proxy')).toBeDefined();
      authenticated = false; // its Pod is gone
      now += 60_000;
      expect(await reviewer.review(lasting, 'dovecote-proxy')).toBeUndefined();
    } finally {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    }
  });
});
