import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cellPaths, INBOUND_DB, type InboundContent, inbox, type MessageInRow, openInboundReader, peekOutbound } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { channels, sessions } from '../../kube/resource-types.ts';
import { bearer } from '../../lib/grpc.ts';
import { type Bench, createBench, enqueueRequest, localChannel, until } from '../testing/delivery-bench.ts';
import { plainTokens } from '../testing/tokens.ts';

let bench: Bench;
let free = 1e12;
beforeEach(async () => {
  free = 1e12;
  bench = await createBench({ controller: false, deps: { freeBytes: async () => free } });
  await localChannel(bench.store);
  await bench.agent('helper');
});
afterEach(() => bench.close());

const rows = (session: string): MessageInRow[] => {
  const db = openInboundReader(join(cellPaths(bench.root, session).in, INBOUND_DB));
  try {
    return db.prepare('SELECT * FROM messages_in ORDER BY seq').all() as MessageInRow[];
  } finally {
    db.close();
  }
};
const contentOf = (row: MessageInRow | undefined) => JSON.parse(row?.content ?? '{}') as InboundContent;

async function stage(bytes: Buffer[], info: Partial<inbox.StagedAttachmentInfo> = {}): Promise<inbox.StageAttachmentResponse> {
  const metadata = await bearer(plainTokens('role:gateway'), 'dovecote-delivery');
  return new Promise((resolve, reject) => {
    const call = bench.inbox().stageAttachment(metadata, (error, response) => (error ? reject(error) : resolve(response)));
    call.write({ part: { $case: 'info', value: { agentGroup: 'helper', name: 'a.txt', mimeType: 'text/plain', sizeBytes: 0, ...info } } });
    for (const chunk of bytes) call.write({ part: { $case: 'chunk', value: chunk } });
    call.end();
  });
}

describe('storing an event', () => {
  test('a redelivered event is stored once and answered as a duplicate with the same seq', async () => {
    const first = await bench.enqueue({ eventId: 'e1' });
    const again = await bench.enqueue({ eventId: 'e1' });
    expect([first.outcome, again.outcome]).toEqual([inbox.EnqueueOutcome.STORED, inbox.EnqueueOutcome.DUPLICATE]);
    expect([again.session, again.seq]).toEqual([first.session, first.seq]);
    expect(rows(first.session)).toHaveLength(1);
  });

  test('the same event twice in one burst is stored once', async () => {
    const outcomes = await Promise.all([1, 2, 3].map(() => bench.enqueue({ eventId: 'e1' })));
    expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual([1, 2, 2]);
  });

  test('a burst for one chat takes few commits and keeps its order', async () => {
    const { session } = await bench.enqueue({ eventId: 'first' });
    const file = join(cellPaths(bench.root, session).in, INBOUND_DB);
    const before = peekOutbound(file)?.changeCounter ?? 0;
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => bench.enqueue({ eventId: `e${i}`, text: String(i) })));
    const commits = (peekOutbound(file)?.changeCounter ?? 0) - before;
    expect(commits).toBeLessThan(50);
    expect(answers.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, i) => 4 + 2 * i));
  });

  test('what the message is reaches the row: quote with its seq, reason, trace, refused attachments', async () => {
    const first = await bench.enqueue({ eventId: 'e1', platformMessageId: 'm1' });
    await bench.enqueue(
      {
        eventId: 'e2',
        quoted: { platformMessageId: 'm1', senderName: 'Ada', text: 'hello' },
        traceparent: '00-1-2-01',
        attachmentErrors: ['x.bin: too large'],
        thread: 't',
      },
      { reason: 'Mentioned' },
    );
    const [, row] = rows(first.session);
    expect(JSON.parse(row?.reply_to ?? '')).toEqual({ senderName: 'Ada', text: 'hello', seq: first.seq });
    expect(row).toMatchObject({ reason: 'Mentioned', traceparent: '00-1-2-01', thread: 't', trigger: 1, status: 'pending' });
    expect(contentOf(row)).toEqual({ text: 'hello', attachmentErrors: ['x.bin: too large'] });
  });

  test('folders and projections of a new cell are there before any Pod could be', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    const paths = cellPaths(bench.root, session);
    for (const folder of [paths.in, join(paths.in, 'attachments'), paths.out, join(paths.out, 'outbox'), paths.workspace])
      expect(existsSync(folder)).toBe(true);
    const db = openInboundReader(join(paths.in, INBOUND_DB));
    expect(db.prepare('SELECT * FROM routing').get()).toEqual({ id: 1, channel: 'web', chat: 'c1', thread: null });
    expect(JSON.parse(db.prepare('SELECT config FROM agent').pluck().get() as string)).toMatchObject({ name: 'helper', provider: 'demo' });
    db.close();
  });

  test.each<[string, Partial<inbox.InboundEvent>, Partial<inbox.EnqueueRequest>]>([
    ['event.event_id', { eventId: '' }, {}],
    ['event.kind', { kind: 99 as inbox.InboundKind }, {}],
    ['event.chat', { chat: '' }, { scope: 'web/c1' }],
    ['event.text', { text: 'x'.repeat(1024 * 1024 + 1) }, {}],
    ['scope', {}, { scope: 'web' }],
    ['scope', {}, { scope: 'web/%' }],
    ['scope', {}, { scope: 'web//c1' }],
  ])('a wrong %s is refused by its name', async (field, event, request) => {
    await expect(bench.enqueue({ eventId: 'e1', ...event }, request)).rejects.toThrow(`INVALID_ARGUMENT: ${field}`);
  });

  test('an agent that does not exist, or is on another shard, is not found here', async () => {
    await expect(bench.enqueue({ eventId: 'e1' }, { agentGroup: 'nobody' })).rejects.toThrow('NOT_FOUND');
  });

  test('without a valid token, or with a session token, nothing is stored', async () => {
    const client = bench.inbox();
    const metadata = await bearer(plainTokens('session:helper-x:1'), 'dovecote-delivery');
    const refused = new Promise((resolve) => client.enqueue(enqueueRequest({ eventId: 'e1' }), metadata, (error) => resolve(error?.code)));
    expect(await refused).toBe(7);
  });
});

describe('mentionSticky', () => {
  const sticky = { onlyIfEngaged: true, ifNotEngaged: inbox.IfNotEngaged.DROP };

  test('before anyone called the agent the message is dropped, with a recorded reason', async () => {
    const answer = await bench.enqueue({ eventId: 'e1' }, sticky);
    expect(answer.outcome).toBe(inbox.EnqueueOutcome.NOT_ENGAGED);
    const client = bench.sessions();
    const metadata = await bearer(plainTokens('role:gateway'), 'dovecote-delivery');
    const drops = await new Promise((resolve) =>
      client.listDrops({ channel: '', chat: '', sender: '', limit: 0 }, metadata, (_, response) => resolve(response.drops)),
    );
    expect(drops).toMatchObject([{ eventId: 'e1', reason: 'NotEngaged', count: 1, sender: 'u1' }]);
  });

  test('what nobody hears makes no cell and no Session: a busy workspace has more threads than conversations', async () => {
    const event = { eventId: 'e1', thread: 't1' };
    await bench.enqueue(event, { onlyIfEngaged: true, scope: 'web/c1/t1' });
    expect(existsSync(join(bench.root, 'cells'))).toBe(false);
    const [dropped, stored] = await Promise.all([
      bench.enqueue({ ...event, eventId: 'e2' }, { onlyIfEngaged: true, scope: 'web/c1/t1' }),
      bench.enqueue({ ...event, eventId: 'e3' }, { scope: 'web/c1/t1' }),
    ]);
    expect([dropped.outcome, stored.outcome]).toEqual([3, 1]);
  });

  test('silent context does not engage, a call does, and only its own thread', async () => {
    const quiet = await bench.enqueue({ eventId: 'e1' }, { trigger: false });
    expect((await bench.enqueue({ eventId: 'e2' }, { ...sticky, ifNotEngaged: inbox.IfNotEngaged.ACCUMULATE })).outcome).toBe(1);
    expect((await bench.enqueue({ eventId: 'e3' }, sticky)).outcome).toBe(inbox.EnqueueOutcome.NOT_ENGAGED);
    await bench.enqueue({ eventId: 'e4', text: '@helper' });
    expect((await bench.enqueue({ eventId: 'e5' }, sticky)).outcome).toBe(inbox.EnqueueOutcome.STORED);
    expect((await bench.enqueue({ eventId: 'e6', thread: 'other' }, sticky)).outcome).toBe(inbox.EnqueueOutcome.NOT_ENGAGED);
    expect(rows(quiet.session).map(({ event_id, trigger }) => [event_id, trigger])).toEqual([
      ['e1', 0],
      ['e2', 0],
      ['e4', 1],
      ['e5', 1],
    ]);
  });

  test('silent context wakes nobody', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' }, { trigger: false });
    const other = await bench.enqueue({ eventId: 'e2', chat: 'c2' });
    await until(async () => (await bench.session(other.session))?.spec.awake === true, 'the other chat to be woken');
    expect((await bench.session(session))?.spec.awake ?? false).toBe(false);
  });
});

describe('attachments', () => {
  test('staged bytes become files of the cell under safe, unique names', async () => {
    const one = await stage([Buffer.from('abc'), Buffer.from('def')]);
    const two = await stage([Buffer.from('second')]);
    const refs = [
      { stagedId: one.stagedId, name: '../../etc/passwd', mimeType: 'text/plain', sizeBytes: 6 },
      { stagedId: two.stagedId, name: 'PASSWD', mimeType: 'text/plain', sizeBytes: 6 },
    ];
    const { session, seq } = await bench.enqueue({ eventId: 'e1', attachments: refs });
    const { attachments } = contentOf(rows(session)[0]);
    expect(attachments?.map(({ path }) => path)).toEqual([`attachments/${seq}/passwd`, `attachments/${seq}/PASSWD-2`]);
    expect(attachments?.[0]?.sha256).toBe(one.sha256);
    expect(readFileSync(join(cellPaths(bench.root, session).in, attachments?.[0]?.path ?? ''), 'utf8')).toBe('abcdef');
    await until(() => readdirSync(join(bench.root, 'incoming')).length === 0, 'an empty staging folder');
  });

  test('a redelivered message whose files were taken already is a duplicate, not an error', async () => {
    const { stagedId } = await stage([Buffer.from('abc')]);
    const attachments = [{ stagedId, name: 'a', mimeType: '', sizeBytes: 3 }];
    await bench.enqueue({ eventId: 'e1', attachments });
    await until(() => readdirSync(join(bench.root, 'incoming')).length === 0);
    expect((await bench.enqueue({ eventId: 'e1', attachments })).outcome).toBe(inbox.EnqueueOutcome.DUPLICATE);
  });

  test('an unknown staged id fails its own message alone', async () => {
    const attachments = [{ stagedId: '../../secret', name: 'a', mimeType: '', sizeBytes: 3 }];
    const [bad, good] = await Promise.allSettled([bench.enqueue({ eventId: 'bad', attachments }), bench.enqueue({ eventId: 'good' })]);
    expect(bad).toMatchObject({ status: 'rejected', reason: { message: expect.stringContaining('event.attachments[0].staged_id') } });
    expect(good).toMatchObject({ status: 'fulfilled', value: { outcome: 1 } });
  });

  test('one that is larger than the channel takes is left out with a sentence, the message stays', async () => {
    await bench.store.patch(channels, 'web', { spec: { maxAttachmentBytes: '4' } }, { fieldManager: 'test' });
    let n = 0;
    await until(async () => {
      n += 1;
      const answer = await bench.enqueue({
        eventId: `e${n}`,
        attachments: [{ stagedId: (await stage([Buffer.from('too large')])).stagedId, name: 'big.txt', mimeType: '', sizeBytes: 9 }],
      });
      const { attachmentErrors } = contentOf(rows(answer.session).at(-1));
      return attachmentErrors?.[0] === 'big.txt: 9 bytes is more than the 4 that this channel takes';
    });
  });

  test('a stream that is longer than announced, or than any channel takes, is refused and leaves nothing', async () => {
    await expect(stage([Buffer.alloc(10)], { sizeBytes: 5 })).rejects.toThrow('RESOURCE_EXHAUSTED');
    await expect(stage([], { sizeBytes: 26 * 1024 * 1024 })).rejects.toThrow('the limit is 26214400');
    await until(() => readdirSync(join(bench.root, 'incoming')).length === 0);
  });

  test('what a crash left under the seq of a message that never was is not mixed with the next one', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' });
    const left = join(cellPaths(bench.root, session).in, 'attachments', '4');
    mkdirSync(left);
    writeFileSync(join(left, 'ghost'), 'x');
    const { stagedId } = await stage([Buffer.from('abc')]);
    await bench.enqueue({ eventId: 'e2', attachments: [{ stagedId, name: 'a', mimeType: '', sizeBytes: 3 }] });
    expect(readdirSync(left)).toEqual(['a']);
  });
});

describe('a volume without room', () => {
  test('events are refused so that the platform retries, and taken again by itself', async () => {
    free = 0;
    await until(
      async () => (await bench.enqueue({ eventId: 'probe' }).catch((e: Error) => e.message.includes('RESOURCE_EXHAUSTED'))) === true,
    );
    await expect(stage([Buffer.from('abc')])).rejects.toThrow('RESOURCE_EXHAUSTED');
    expect(existsSync(join(bench.root, 'reserve'))).toBe(false);
    free = 1e12;
    await until(async () => (await bench.enqueue({ eventId: 'e2' }).catch(() => undefined))?.outcome === 1, 'an event that is taken again');
    expect(existsSync(join(bench.root, 'reserve'))).toBe(true);
  });
});

describe('a session that is suspended', () => {
  test('keeps the message, does not wake, and says so once', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1' }, { trigger: false });
    await bench.restart(); // at start, a cell without a Session is adopted
    await until(async () => (await bench.session(session)) !== undefined, 'the Session object');
    await bench.store.patch(sessions, session, { spec: { suspended: true } }, { fieldManager: 'test' });
    await bench.restart();
    await bench.enqueue({ eventId: 'e2' });
    await bench.enqueue({ eventId: 'e3' });
    await until(() => bench.delivered.length > 0, 'the notice');
    expect(bench.delivered).toHaveLength(1);
    expect(bench.delivered[0]?.content).toContain('suspended');
    expect((await bench.session(session))?.spec.awake).toBe(false);
    expect(rows(session).filter(({ status }) => status === 'pending')).toHaveLength(3);
  });
});

describe('an edit or a deletion', () => {
  test('changes the row while no turn has read it, once, and marks it', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1', platformMessageId: 'm1', text: 'helo' });
    const change = { $case: 'newText' as const, value: 'hello' };
    expect((await bench.amend('m1', { change }))?.outcome).toBe(inbox.AmendOutcome.UPDATED);
    expect((await bench.amend('m1', { change }))?.outcome).toBe(inbox.AmendOutcome.DUPLICATE);
    expect(contentOf(rows(session)[0])).toMatchObject({ text: 'hello', edited: true });
  });

  test('a message that was deleted before it was read is not read at all', async () => {
    const { session } = await bench.enqueue({ eventId: 'e1', platformMessageId: 'm1', text: 'secret' });
    expect((await bench.amend('m1'))?.outcome).toBe(inbox.AmendOutcome.UPDATED);
    expect(rows(session)[0]).toMatchObject({ status: 'done', trigger: 0 });
    expect(rows(session)[0]?.content).not.toContain('secret');
  });

  test('once a turn has it the agent is told by a row of its own, once', async () => {
    const { session, seq } = await bench.enqueue({ eventId: 'e1', platformMessageId: 'm1', text: 'helo' });
    bench.runner(session, () => undefined);
    await until(() => rows(session)[0]?.status === 'done', 'the turn');
    const change = { $case: 'newText' as const, value: 'hello' };
    expect((await bench.amend('m1', { change }))?.outcome).toBe(inbox.AmendOutcome.TOLD);
    expect((await bench.amend('m1', { change }))?.outcome).toBe(inbox.AmendOutcome.DUPLICATE);
    expect(contentOf(rows(session)[1]).text).toBe(`Ada edited message ${seq}. It now reads: hello`);
    expect(contentOf(rows(session)[0]).text).toBe('helo');
  });

  test('of a message that never came is unknown', async () => {
    expect((await bench.amend('m9'))?.outcome).toBe(inbox.AmendOutcome.UNKNOWN);
  });
});
