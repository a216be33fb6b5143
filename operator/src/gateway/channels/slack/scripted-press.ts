/** Test only: the call by which Slack tells of a pressed button. Scripted, by docs.slack.dev, "block_actions payload". */
import { createHmac } from 'node:crypto';
import { ACTION_PREFIX } from './blocks.ts';

export interface ScriptedPress {
  readonly chat: string;
  /** of the message */
  readonly ts: string;
  readonly thread?: string;
  readonly user: string;
  readonly data: string;
  /** ms since 1970 */
  readonly at: number;
}

let count = 0;

export function pressPayload({ chat, ts, thread, user, data, at }: ScriptedPress): object {
  count += 1;
  return {
    type: 'block_actions',
    user: { id: user, username: 'alice', name: 'alice', team_id: 'T1' },
    api_app_id: 'A1',
    token: 'old style',
    container: { type: 'message', message_ts: ts, channel_id: chat, is_ephemeral: false },
    trigger_id: `1.2.${count}`,
    team: { id: 'T1', domain: 'test' },
    channel: { id: chat, name: 'agents' },
    message: { type: 'message', ts, ...(thread !== undefined && { thread_ts: thread }) },
    response_url: 'https://hooks.slack.com/actions/T1/1/1',
    actions: [
      {
        type: 'button',
        action_id: `${ACTION_PREFIX}0`,
        block_id: 'b',
        value: data,
        action_ts: `${Math.floor(at / 1000)}.${String(count).padStart(6, '0')}`,
      },
    ],
  };
}

/** Body and headers, signed. */
export function scriptedPress(press: ScriptedPress, signingSecret: string): [Buffer, Record<string, string>] {
  const body = new URLSearchParams({ payload: JSON.stringify(pressPayload(press)) }).toString();
  const seconds = Math.floor(press.at / 1000);
  const digest = createHmac('sha256', signingSecret).update(`v0:${seconds}:${body}`).digest('hex');
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    'x-slack-request-timestamp': String(seconds),
    'x-slack-signature': `v0=${digest}`,
  };
  return [Buffer.from(body), headers];
}
