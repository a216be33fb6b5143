import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cellPaths, INBOUND_DB, inbox, openInboundReader } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { unary } from '../../lib/grpc.ts';
import { enqueueRequest } from '../testing/delivery-bench.ts';
import { createVolume, type SpawnedDelivery } from '../testing/spawn-delivery.ts';

let volume: Awaited<ReturnType<typeof createVolume>>;
let delivery: SpawnedDelivery | undefined;
beforeEach(async () => {
  volume = await createVolume();
});
afterEach(async () => {
  await delivery?.kill();
  delivery = undefined;
  volume.remove();
});

const enqueue = ({ client, metadata }: SpawnedDelivery, eventId: string, event: Partial<inbox.InboundEvent> = {}) =>
  unary(client, client.enqueue, enqueueRequest({ eventId, ...event }), { metadata, deadlineMs: 60_000 });

const events = (): string[] => {
  const [session = ''] = readdirSync(join(volume.root, 'cells'));
  const file = join(cellPaths(volume.root, session).in, INBOUND_DB);
  if (!existsSync(file)) return []; // a session whose first event was not stored is none yet
  const db = openInboundReader(file);
  try {
    return db.prepare('SELECT event_id FROM messages_in ORDER BY seq').pluck().all() as string[];
  } finally {
    db.close();
  }
};

function stage({ client, metadata }: SpawnedDelivery, chunks: number, chunk: Buffer): Promise<inbox.StageAttachmentResponse> {
  return new Promise((resolve, reject) => {
    const call = client.stageAttachment(metadata, (error, response) => (error ? reject(error) : resolve(response)));
    call.write({
      part: { $case: 'info', value: { agentGroup: 'helper', name: 'big.bin', mimeType: '', sizeBytes: chunks * chunk.length } },
    });
    let left = chunks;
    const pump = (): void => {
      while (left > 0) {
        left -= 1;
        if (!call.write({ part: { $case: 'chunk', value: chunk } })) {
          call.once('drain', pump);
          return;
        }
      }
      call.end();
    };
    pump();
  });
}

describe('delivery killed', () => {
  describe.each([
    ['the first event of a session', 1],
    ['a later event', 2],
  ])('at %s', (_which, nth) => {
    const last = `e${nth}`;
    const before = nth === 1 ? [] : ['e1'];

    test('before the commit: no answer was given, nothing is stored, the redelivered event is stored as new', async () => {
      delivery = await volume.start(`delivery/before-commit#${nth}`);
      for (const event of before) await enqueue(delivery, event);
      await expect(enqueue(delivery, last)).rejects.toThrow();
      await delivery.gone;
      expect(events()).toEqual(before);
      delivery = await volume.start();
      expect((await enqueue(delivery, last)).outcome).toBe(inbox.EnqueueOutcome.STORED);
      expect(events()).toEqual([...before, last]);
    });

    test('between commit and answer: the row is there, the redelivered event is a duplicate', async () => {
      delivery = await volume.start(`delivery/after-commit-before-answer#${nth}`);
      for (const event of before) await enqueue(delivery, event);
      await expect(enqueue(delivery, last)).rejects.toThrow();
      await delivery.gone;
      expect(events()).toEqual([...before, last]);
      delivery = await volume.start();
      expect((await enqueue(delivery, last)).outcome).toBe(inbox.EnqueueOutcome.DUPLICATE);
      expect(events()).toEqual([...before, last]);
    });
  });

  test('with an attachment before the commit: the staged file is still there for the next try, and nothing is doubled', async () => {
    delivery = await volume.start('delivery/before-commit');
    const { stagedId } = await stage(delivery, 1, Buffer.from('abc'));
    const attachments = [{ stagedId, name: 'a.txt', mimeType: '', sizeBytes: 3 }];
    await expect(enqueue(delivery, 'e1', { attachments })).rejects.toThrow();
    await delivery.gone;
    delivery = await volume.start();
    expect((await enqueue(delivery, 'e1', { attachments })).outcome).toBe(inbox.EnqueueOutcome.STORED);
    const [session = ''] = readdirSync(join(volume.root, 'cells'));
    expect(readdirSync(join(cellPaths(volume.root, session).in, 'attachments', '2'))).toEqual(['a.txt']);
  });

  test('between answer and wake: the row is there for the next delivery, which takes it as its own', async () => {
    delivery = await volume.start('delivery/after-answer-before-wake');
    await enqueue(delivery, 'e1').catch(() => {}); // the answer may or may not have left before the kill
    await delivery.gone;
    expect(events()).toEqual(['e1']);
    delivery = await volume.start();
    expect((await enqueue(delivery, 'e1')).outcome).toBe(inbox.EnqueueOutcome.DUPLICATE);
  });
});

test('100 MiB pass through in pieces: memory does not grow with the file', async () => {
  delivery = await volume.start();
  await stage(delivery, 400, Buffer.alloc(256 * 1024)); // fills the garbage that a busy process carries anyway
  const before = await delivery.maxRss();
  const { sizeBytes } = await stage(delivery, 400, Buffer.alloc(256 * 1024, 7));
  expect(sizeBytes).toBe(100 * 2 ** 20);
  expect((await delivery.maxRss()) - before).toBeLessThan(30 * 2 ** 20);
});
