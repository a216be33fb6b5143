/** Search over 100,000 messages of one agent: a real delivery, its real files, asked over gRPC as a session would ask. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { agent as proto } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { ShardCells } from '../../operator/src/delivery/cells/cells.ts';
import { createBench } from '../../operator/src/delivery/testing/delivery-bench.ts';
import { plainTokens } from '../../operator/src/delivery/testing/tokens.ts';
import { bearer, unary } from '../../operator/src/lib/grpc.ts';
import { percentile, type Result, summarise } from './sample.ts';

const SESSIONS = 100;
const MESSAGES = 1_000;
/** Which one of each conversation is a long one. */
const LONG = 500;
const CALL_MS = 60_000;

/** 100 conversations with 1,000 messages each of the last three months, a third in Chinese, one in a thousand of 200,000 characters. `samples`: searches of each kind. */
export async function searchFigures(samples: number): Promise<Result[]> {
  const bench = await createBench({ controller: false });
  try {
    const { metadata } = await bench.agent('helper');
    await bench.stop();
    const words = fill(bench.root, metadata.uid);
    const began = performance.now();
    await bench.restart();
    const client = new proto.AgentClient(bench.delivery().address, credentials.createInsecure());
    const options = { metadata: await bearer(plainTokens('session:helper-0:pod'), 'dovecote-delivery'), deadlineMs: CALL_MS };
    const search = (request: Partial<proto.SearchMessagesRequest>): Promise<proto.SearchMessagesResponse> =>
      unary(
        client,
        client.searchMessages,
        { query: '', fromMs: 1, toMs: 0, session: '', contact: '', role: '', limit: 0, ...request },
        options,
      );
    const list = (): Promise<proto.ListOwnSessionsResponse> =>
      unary(client, client.listOwnSessions, { type: '', channelType: '', limit: 200 }, options);
    const found = async (): Promise<number> => (await list()).sessions.reduce((sum, { messages }) => sum + messages, 0);
    const end = Date.now() + 600_000;
    while ((await found()) < SESSIONS * MESSAGES) {
      if (Date.now() > end) throw new Error('the messages cannot all be found');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const seconds = (performance.now() - began) / 1000;

    const kinds: Readonly<Record<string, () => Partial<proto.SearchMessagesRequest>>> = {
      'a common word': () => ({ query: words.common() }),
      'a rare word': () => ({ query: words.rare() }),
      'two words': () => ({ query: `${words.common()} ${words.rare()}` }),
      'four Chinese characters': () => ({ query: words.chinese(4) }),
      'two Chinese characters': () => ({ query: words.chinese(2) }),
      'a word that nobody said': () => ({ query: 'xqzvwkxqz' }),
      'two Chinese characters that nobody said': () => ({ query: '鱻鱻' }),
      'two signs that nobody wrote': () => ({ query: '#?' }),
      'a common word of one contact': () => ({ query: words.common(), contact: `contact ${words.number(500)}`, role: 'user' }),
      'a common word in one conversation': () => ({ query: words.common(), session: `helper-${words.number(SESSIONS)}` }),
      'the latest of a contact': () => ({ contact: `contact ${words.number(500)}` }),
      'the last seven days': () => ({ query: words.common(), fromMs: 0 }),
    };
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const all: number[] = [];
    const results: Result[] = [];
    for (const [kind, request] of Object.entries(kinds)) {
      const times: number[] = [];
      for (let n = 0; n < samples; n += 1) {
        const asked = request();
        const at = performance.now();
        await search(asked);
        times.push(performance.now() - at);
      }
      all.push(...times);
      results.push(summarise(`search, 100,000 messages: ${kind}`, 'ms', times));
    }
    delay.disable();
    client.close();
    return [
      summarise('search, 100,000 messages: all kinds', 'ms', all),
      summarise('search, 100,000 messages: p95 of all kinds', 'ms', [percentile(all, 0.95)]),
      ...results,
      summarise('search: longest hold of the event loop meanwhile', 'ms', [delay.max / 1e6]),
      summarise('search: messages made findable after a loss of the index', '1/s', [(SESSIONS * MESSAGES) / seconds]),
    ];
  } finally {
    await bench.close();
  }
}

interface Words {
  common(): string;
  rare(): string;
  chinese(length: number): string;
  number(below: number): number;
}

/** Writes the cells as delivery would have left them, and gives words that occur in them. Repeatable: its randomness is seeded. */
function fill(root: string, uid: string): Words {
  let state = 42;
  const fraction = (): number => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
  const number = (below: number): number => Math.floor(fraction() * below);
  // As in any language, few words are frequent and most are rare.
  const vocabulary = Array.from({ length: 8_000 }, () =>
    Array.from({ length: 3 + number(7) }, () => String.fromCharCode(97 + number(26))).join(''),
  );
  const word = (): string => vocabulary[Math.floor(fraction() ** 3 * vocabulary.length)] ?? '';
  const han = (length: number): string =>
    Array.from({ length }, () => String.fromCharCode(0x4e00 + Math.floor(fraction() ** 3 * 3_000))).join('');
  const chinese: string[] = [];
  const text = (m: number): string => {
    if (m === LONG) return Array.from({ length: 40_000 }, word).join(' ').slice(0, 200_000);
    if (fraction() >= 0.33) return Array.from({ length: 10 + number(40) }, word).join(' ');
    const said = han(40 + number(60));
    if (chinese.length < 1_000) chinese.push(said);
    return said;
  };
  const now = Date.now();
  const step = Math.floor((90 * 86_400_000) / (SESSIONS * MESSAGES));
  const cells = new ShardCells({ root, maxOpen: 4 });
  for (let n = 0; n < SESSIONS; n += 1) {
    const { inbound } = cells.create({
      session: `helper-${n}`,
      agent_group: 'helper',
      agent_group_uid: uid,
      scope: `web/c${n}`,
      generation: 1,
      type: 'Chat',
      created_at: 1,
    });
    const insert = inbound.prepare(
      `INSERT INTO messages_in (seq, event_id, lane, kind, trigger, channel, chat, sender, sender_name, content, status, created_at)
       VALUES (?, ?, 'chat', 'chat', 0, 'web', ?, ?, ?, ?, 'done', ?)`,
    );
    inbound.transaction(() => {
      for (let m = 0; m < MESSAGES; m += 1) {
        const sender = number(500);
        const at = now - (m * SESSIONS + n) * step;
        insert.run(2 * (m + 1), `e${m}`, `c${n}`, `u${sender}`, `Contact ${sender}`, JSON.stringify({ text: text(m) }), at);
      }
    })();
  }
  cells.close();
  return {
    common: () => vocabulary[number(20)] ?? '',
    rare: () => vocabulary[7_000 + number(1_000)] ?? '',
    chinese: (length) => chinese[number(chinese.length)]?.slice(0, length) ?? '',
    number,
  };
}
