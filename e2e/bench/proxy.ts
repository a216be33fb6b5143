/** What the proxy costs: the same request to the same upstream, directly and through it, in turn. With the ledger, its commits included. */

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent, request } from 'undici';
import { LocalMode } from '../harness/local-mode.ts';
import { manifest, secret, webAgent } from '../harness/objects.ts';
import { seeded } from '../harness/seeded.ts';
import { percentile, type Result, summarise } from './sample.ts';

const random = seeded(42);

const event = (type: string, data: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
const HEAD =
  event('message_start', {
    message: { id: 'm', type: 'message', role: 'assistant', model: 'bench', content: [], usage: { input_tokens: 1, output_tokens: 1 } },
  }) + event('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
const WORD = event('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'word ' } });
const TAIL =
  event('content_block_stop', { index: 0 }) +
  event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 2 } }) +
  event('message_stop', {});

/** Streams: how many at once; each takes about two seconds. */
export async function proxyCost(samples: number, streams: number): Promise<Result[]> {
  return [
    ...(await ofAgent('with a budget', { tokens: 1_000_000_000 }, samples, streams)),
    ...(await ofAgent('without', undefined, samples, streams)),
  ];
}

async function ofAgent(which: string, budget: { tokens: number } | undefined, samples: number, streams: number): Promise<Result[]> {
  const upstream = createServer((incoming, response) => {
    const slow = incoming.headers['anthropic-beta'] === 'slow';
    incoming.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(HEAD);
    let left = slow ? 20 : 1;
    const next = (): void => {
      response.write(WORD);
      left -= 1;
      if (left > 0) setTimeout(next, 100);
      else response.end(TAIL);
    };
    next();
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const direct = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const house = await LocalMode.start({
    manifests: {
      ...webAgent(),
      ...secret('anthropic', { 'api-key': 'bench' }),
      ...manifest('AgentGroup', 'assistant', {
        provider: { type: 'anthropic', anthropic: { baseURL: direct, credentialsRef: { name: 'anthropic' } } },
        ...(budget !== undefined && { budget }),
      }),
    },
  });
  const agent = new Agent({ connections: null });
  try {
    const doors = [await doorOf(house), await doorOf(house)] as const;
    const through = (n: number) => doors[n % doors.length] as Door;
    const call = async (url: string, headers: Record<string, string>): Promise<string> => {
      const answer = await request(url, {
        method: 'POST',
        body: '{"model":"bench","stream":true}',
        headers: { 'content-type': 'application/json', ...headers },
        dispatcher: agent,
      });
      return answer.body.text();
    };
    const timed = async (url: string, headers: Record<string, string>): Promise<number> => {
      const began = performance.now();
      await call(url, headers);
      return performance.now() - began;
    };
    const straight: number[] = [];
    const proxied: number[] = [];
    const unmetered: number[] = [];
    const gap = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10 + random() * 30));
    for (let n = 0; n < samples + 20; n += 1) {
      await gap(); // the end of the one before is told meanwhile, as it is between two calls of a model
      const plain = await timed(`${direct}/v1/messages`, {});
      const other = await timed(through(n).url, through(n).headers);
      await gap();
      const third = await timed(through(n).url.replace('/messages', '/messages/count_tokens'), through(n).headers);
      if (n < 20) continue; // connections and code are warm after these
      straight.push(plain);
      proxied.push(other);
      unmetered.push(third);
    }
    const slow = { 'anthropic-beta': 'slow' };
    const began = performance.now();
    const answers = await Promise.all(Array.from({ length: streams }, (_, n) => call(through(n).url, { ...through(n).headers, ...slow })));
    const whole = answers.filter((text) => text === HEAD + WORD.repeat(20) + TAIL).length;
    return [
      summarise(`model request, ${which}: directly`, 'ms', straight),
      summarise(`model request, ${which}: through the proxy`, 'ms', proxied),
      summarise(`model request, ${which}: through the proxy, unmetered (token count)`, 'ms', unmetered),
      summarise(
        `model request, ${which}: the proxy adds`,
        'ms',
        proxied.map((ms, n) => ms - (straight[n] ?? 0)),
      ),
      summarise(`model request, ${which}: ratio of the two`, 'ratio', [percentile(proxied, 0.5) / percentile(straight, 0.5)]),
      summarise(`${streams} streams of 2 s at once, ${which}: whole`, 'streams', [whole]),
      summarise(`${streams} streams of 2 s at once, ${which}: until the last has ended`, 'ms', [performance.now() - began]),
    ];
  } finally {
    await agent.destroy();
    await house.dispose();
    upstream.closeAllConnections();
    upstream.close();
  }
}

interface Door {
  readonly url: string;
  readonly headers: Record<string, string>;
}

/** The proxy as the Pod of a new session sees it: by its runner's own arguments. */
async function doorOf(house: LocalMode): Promise<Door> {
  const chat = house.chat();
  await chat.ask('hello', 'word');
  const pid = await house.runner(await chat.session());
  const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  const after = (flag: string): string => args[args.indexOf(flag) + 1] ?? '';
  const token = readFileSync(after('--proxy-token'), 'utf8').trim();
  return { url: `${after('--proxy')}/anthropic/v1/messages`, headers: { authorization: `Bearer ${token}` } };
}
