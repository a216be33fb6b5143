import type { GatewayContext } from '../../start.ts';
import { describeChannel, type PlatformUnderTest } from '../contract.test-suite.ts';
import { localMessage } from './local.ts';

async function webChat(): Promise<PlatformUnderTest> {
  let context: GatewayContext | undefined;
  let count = 0;
  const write = async (id: string, text: string): Promise<void> => {
    await context?.receive('team', [
      localMessage({ channel: 'team', chat: 'alice', id, sender: 'alice', senderName: 'Alice', text, sentAtMs: 0 }),
    ]);
  };
  let last: [string, string] = ['', ''];
  return {
    spec: { type: 'local' },
    credentials: {},
    chat: 'alice',
    supports: { threads: false, edits: true, reactions: true, files: true },
    mention: '@agent',
    connect: async () => {},
    say: async (text) => {
      count += 1;
      last = [`m${count}`, text];
      await write(...last);
      return last[0];
    },
    // A page that lost the answer sends the same message under the same id. Nobody can forge one: the API authenticates.
    repeat: async (change = 'none') => {
      if (change === 'forged') return 401;
      await write(...last);
      return 200;
    },
    plugins: [
      (_app, gateway) => {
        context = gateway;
      },
    ],
    close: async () => {},
  };
}

describeChannel('local', webChat);
