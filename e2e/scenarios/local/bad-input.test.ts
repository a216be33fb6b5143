import { request } from 'node:http';
import { expect } from '@jest/globals';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const stage = slackStage();

/** Begins a call whose body is said to be this large; what is answered before it is sent. */
function announced(url: string, bytes: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': String(bytes) } });
    call.once('response', (response) => {
      resolve(response.statusCode);
      call.destroy();
    });
    call.once('error', reject);
    call.write('{"type":"event_callback","padding":"');
  });
}

verifies(
  'sec/webhook',
  'forged, stale, replayed, oversized and broken calls are refused with the right status, store nothing, and the next real one is taken',
  async () => {
    const { slack, house } = stage.it;
    const scene = stage.it;
    const { body } = scene.event({ text: 'say real' });
    const now = Math.floor(Date.now() / 1000);
    const status = (text: string | Buffer, headers: Record<string, string>): Promise<number> => scene.post(text, headers);
    expect(await status(body, slack.signature(body, 'another secret'))).toBe(401);
    expect(await status(`${body} `, slack.signature(body))).toBe(401); // the bytes count, not what they mean
    expect(await status(body, slack.signature(body, slack.signingSecret, now - 301))).toBe(401);
    expect(await status(body, slack.signature(body, slack.signingSecret, now + 600))).toBe(401);
    expect(await status(body, { 'content-type': 'application/json' })).toBe(401);
    expect(await status('{"type":', slack.signature('{"type":'))).toBe(400);
    expect(await status('[]', slack.signature('[]'))).not.toBe(500);
    const deep = '['.repeat(200_000);
    expect(await status(deep, slack.signature(deep))).toBe(400);
    expect(await announced(`${house.url}/channels/team`, 5_000_000)).toBe(413);
    expect((await fetch(`${house.url}/channels/nobody`, { method: 'POST', body })).status).toBe(404);
    expect((await fetch(`${house.url}/channels/team`)).status).toBe(405);
    expect(house.files.sessions()).toEqual([]);
    // The same signed call twice is one message; the handshake is answered without storing anything.
    const signed = slack.signature(body);
    expect([await status(body, signed), await status(body, signed)]).toEqual([200, 200]);
    const [session = ''] = house.files.sessions();
    expect(house.files.messages(session)).toHaveLength(1);
    const hello = JSON.stringify({ type: 'url_verification', challenge: 'abc' });
    const answer = await fetch(`${house.url}/channels/team`, { method: 'POST', body: hello, headers: slack.signature(hello) });
    expect([answer.status, await answer.text()]).toEqual([200, 'abc']);
  },
  PATIENT_MS,
);
