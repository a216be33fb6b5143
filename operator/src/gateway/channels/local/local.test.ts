import type { GatewayContext } from '../../start.ts';
import { decodeButton } from '../button.ts';
import { describeChannel, type PlatformUnderTest } from '../contract.test-suite.ts';
import { localAnswer, localMessage } from './local.ts';

async function webChat(): Promise<PlatformUnderTest> {
  let context: GatewayContext | undefined;
  let count = 0;
  const write = async (id: string, text: string): Promise<void> => {
    await context?.receive('team', [
      localMessage({ channel: 'team', chat: 'alice', id, sender: 'alice', senderName: 'Alice', text, sentAtMs: 0 }),
    ]);
  };
  let last = async (): Promise<void> => {};
  return {
    spec: { type: 'local' },
    credentials: {},
    chat: 'alice',
    supports: { threads: false, edits: true, reactions: true, files: true },
    mention: '@agent',
    connect: async () => {},
    say: async (text) => {
      count += 1;
      const id = `m${count}`;
      last = () => write(id, text);
      await last();
      return id;
    },
    // A page that lost the answer sends the same message under the same id. Nobody can forge one: the API authenticates.
    repeat: async (change = 'none') => {
      if (change === 'forged') return 401;
      await last();
      return 200;
    },
    press: async (_, data) => {
      const pointer = decodeButton(data);
      if (pointer === undefined) return 200; // the API takes no other form
      count += 1;
      const id = `p${count}`;
      const press = localAnswer({ channel: 'team', chat: 'alice', id, sender: 'alice', pointer, pressedAtMs: 0 });
      last = async () => {
        await context?.receive('team', [press]);
      };
      await last();
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
