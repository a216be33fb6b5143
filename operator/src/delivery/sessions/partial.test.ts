import { EventEmitter } from 'node:events';
import { attach, type sessions } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { systemClock } from '../../lib/clock.ts';
import { bearer, type Metadata } from '../../lib/grpc.ts';
import { ShardCells } from '../cells/cells.ts';
import { makeCell, makeFolder, remove, SESSION } from '../outbox/testing/bench-cell.ts';
import { Feed } from '../shard/feed.ts';
import type { ShardIndex } from '../shard/index-db.ts';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';
import type { ScriptedRunner } from '../testing/scripted-runner.ts';
import { plainTokens } from '../testing/tokens.ts';
import { watchMessages } from './watch.ts';

let bench: Bench;
let metadata: Metadata;
let runner: ScriptedRunner;
let session: string;
beforeEach(async () => {
  metadata = await bearer(plainTokens('role:gateway'), 'dovecote-delivery');
  bench = await createBench();
  await bench.agent('helper');
  ({ session } = await bench.enqueue({ eventId: 'e1', text: 'hi' }));
  await until(() => bench.delivered.length === 1, 'an answer');
  const attached = bench.runners.get(session);
  if (attached === undefined) throw new Error('there is no runner');
  runner = attached;
});
afterEach(() => bench.close());

/** Everything in the order in which it came: rows by their text, texts that grow in angle brackets. */
function watch(chat: string): string[] {
  const client = bench.sessions();
  const call = client.watchMessages({ session: '', channel: 'web', chat, afterCursor: '' }, metadata);
  const seen: string[] = [];
  call.on('data', ({ update }: sessions.WatchMessagesResponse) => {
    if (update?.$case === 'message') seen.push((JSON.parse(update.value.content) as { text: string }).text);
    if (update?.$case === 'partial') seen.push(`<${update.value.text}>`);
  });
  call.on('error', () => {});
  return seen;
}

/** As a runner does: not sooner than it may. */
async function write(text: string, inReplyTo = 2): Promise<void> {
  await systemClock.sleep(80, AbortSignal.timeout(5_000));
  runner.partial(text, inReplyTo);
}

describe('an answer that is being written', () => {
  test('grows before those who watch, also those who come later, and makes way for the message that it becomes', async () => {
    const seen = watch('c1');
    await until(() => seen.length === 2, 'the conversation so far');
    await write('One');
    await until(() => seen.at(-1) === '<One>', 'the first words');
    await write('One two');
    await until(() => seen.at(-1) === '<One two>', 'more words');
    const late = watch('c1');
    await until(() => late.includes('<One two>') && late.length === 3, 'them for someone who comes later');
    await bench.enqueue({ eventId: 'e2', text: 'more' });
    await until(() => seen.includes('<>') && seen.includes('echo more'), 'its end and the answer');
    expect(seen.filter((text) => text !== '<>')).toEqual(['hi', 'echo hi', '<One>', '<One two>', 'more', 'echo more']);
  });

  test('vanishes when its turn ends without it, when the model takes it back, and when its runner is gone', async () => {
    const seen = watch('c1');
    await until(() => seen.length === 2);
    await write('never said');
    await until(() => seen.at(-1) === '<never said>');
    runner.progress(attach.Progress_Phase.IDLE);
    await until(() => seen.at(-1) === '<>', 'the end of the turn');
    await write('taken back');
    await until(() => seen.at(-1) === '<taken back>');
    runner.partial('');
    await until(() => seen.at(-1) === '<>', 'the taking back');
    await write('cut off');
    await until(() => seen.at(-1) === '<cut off>');
    bench.manual.add(session);
    runner.close();
    await until(() => seen.at(-1) === '<>', 'the end of the runner');
  });

  test('is shown in the chat that it answers and in no other of its session', async () => {
    const { seq } = await bench.enqueue({ eventId: 'e2', chat: 'c2', text: 'there' }, { scope: 'web/c1' });
    await until(() => bench.delivered.length === 2);
    const [one, two] = [watch('c1'), watch('c2')];
    await write('for two', seq);
    await until(() => two.includes('<for two>'), 'the other chat');
    await write('for one', 2);
    await until(() => one.includes('<for one>'), 'the first chat');
    await until(() => two.at(-1) === '<>', 'its end in the other');
    expect(one).not.toContain('<for two>');
    expect(two).not.toContain('<for one>');
    // A number that stands for no message of this session is shown to nobody.
    await write('for nobody', 4_242);
    await until(() => one.at(-1) === '<>');
    expect([...one, ...two]).not.toContain('<for nobody>');
  });

  test('a reader that does not read gets the newest text alone', async () => {
    const root = makeFolder();
    const cells = new ShardCells({ root, maxOpen: 4 });
    makeCell(cells);
    const [feed, partials] = [new Feed(), new Feed()];
    let text = '1';
    const reader = Object.assign(new EventEmitter(), {
      taken: [] as string[],
      write: ({ update }: sessions.WatchMessagesResponse) => {
        if (update?.$case === 'partial') reader.taken.push(update.value.text);
        return false; // has had enough until it says so
      },
    });
    const gone = new AbortController();
    const watching = watchMessages(
      {
        cells,
        index: {} as ShardIndex, // which only a reader by chat asks
        feed,
        clock: systemClock,
        activity: () => ({ session: SESSION, state: 'Thinking', detail: '', queuePosition: 0 }),
        partials,
        partial: () => ({ turn: 't1', text, channel: 'web', chat: 'home' }),
      },
      { session: SESSION, channel: '', chat: '', afterCursor: '' },
      reader,
      gone.signal,
    );
    await until(() => reader.taken.length === 1);
    for (const next of ['12', '123', '1234']) {
      text = next;
      partials.changed(SESSION);
    }
    await until(() => {
      reader.emit('drain');
      return reader.taken.length === 2;
    });
    expect(reader.taken).toEqual(['1', '1234']);
    gone.abort();
    await watching;
    cells.close();
    remove(root);
  });
});
