/** The door to the outside, on the cluster. */
import { expect } from '@jest/globals';
import { gatewayUrl } from '../../harness/cluster.ts';
import { clusterVerifies, sessionsOf } from '../../harness/cluster-scenario.ts';

clusterVerifies('sec/webhook', 'a forged, old, oversized, malformed or lost call is refused and wakes nobody', async (scenario) => {
  const agent = scenario.name('agent');
  await scenario.agent({}, agent);
  const { slack, webhook } = await scenario.slackChat(agent);
  const post = async (url: string, body: string, headers: Record<string, string>): Promise<number> => {
    const response = await fetch(url, { method: 'POST', body, headers });
    await response.text();
    return response.status;
  };
  const ts = `${Math.floor(Date.now() / 1000)}.000100`;
  const body = slack.event('hello', ts);
  const now = Math.floor(Date.now() / 1000);
  expect(await post(webhook, body, slack.signature(body, 'another secret'))).toBe(401);
  expect(await post(webhook, body, slack.signature(`${body} `))).toBe(401); // the signature of other bytes
  expect(await post(webhook, body, { 'content-type': 'application/json' })).toBe(401);
  expect(await post(webhook, body, slack.signature(body, slack.signingSecret, now - 600))).toBe(401);
  const large = JSON.stringify({ type: 'event_callback', padding: 'x'.repeat(5 * 2 ** 20) });
  expect(await post(webhook, large, slack.signature(large)).catch(() => 413)).toBe(413); // it may hang up before it has read all
  const malformed = '{"type":"event_callback",';
  expect(await post(webhook, malformed, slack.signature(malformed))).toBe(400);
  expect(await post(`${await gatewayUrl()}/channels/${scenario.name('nobody')}`, body, slack.signature(body))).toBe(404);
  expect((await fetch(webhook)).status).toBe(405);
  expect(await sessionsOf(agent)).toEqual([]);
  expect(await post(webhook, body, slack.signature(body))).toBe(200); // the same event, signed
  await slack.call('conversations.history', { channel: slack.chat });
  expect((await sessionsOf(agent)).length).toBeLessThanOrEqual(1);
});

clusterVerifies('cell/event-stored-once', 'an event that Slack sends again, to any replica, is answered once', async (scenario) => {
  const agent = scenario.name('agent');
  await scenario.agent({}, agent);
  const { slack, webhook } = await scenario.slackChat(agent);
  // The emulator's own message opens the thread; what comes again is that event, as Slack's retries are.
  const ts = `${Math.floor(Date.now() / 1000)}.000200`;
  const body = slack.event('say it once', ts);
  for (let attempt = 1; attempt <= 4; attempt += 1) {
    const response = await fetch(webhook, { method: 'POST', body, headers: { ...slack.signature(body), connection: 'close' } });
    expect(response.status).toBe(200);
  }
  await slack.answer(ts, 'it once');
  const last = await slack.say('anything more?', ts);
  await slack.answer(ts, 'You said: anything more?');
  expect(last).not.toBe(ts);
  expect((await slack.replies(ts)).filter(({ text }) => text.includes('it once'))).toHaveLength(1);
});
