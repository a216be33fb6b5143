import { attach, cellPaths } from '@dovecote/proto';
import { credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type Bench, createBench, until } from '../testing/delivery-bench.ts';
import { ScriptedRunner } from '../testing/scripted-runner.ts';

let bench: Bench;
let session: string;
beforeEach(async () => {
  bench = await createBench({ controller: false });
  await bench.agent('helper');
  ({ session } = await bench.enqueue({ eventId: 'e1' }));
});
afterEach(() => bench.close());

const runner = (podUid: string, instance = podUid): ScriptedRunner => {
  const paths = cellPaths(bench.root, session);
  return new ScriptedRunner({
    address: bench.delivery().address,
    session,
    podUid,
    instance,
    in: paths.in,
    out: paths.out,
    answer: () => undefined,
  });
};

/** A stream with nothing but what is written here. */
function dial(token: string, first: attach.AttachRequest): Promise<number> {
  const client = new attach.AttachClient(bench.delivery().address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const stream = client.attach(metadata);
  stream.write(first);
  return new Promise((resolve) => {
    stream.on('data', () => {});
    stream.on('error', (error: ServiceError) => {
      client.close();
      resolve(error.code);
    });
  });
}
const hello = (name: string): attach.AttachRequest => ({
  message: {
    $case: 'hello',
    value: {
      session: name,
      runnerVersion: '',
      inboundSchema: 1,
      outboundSchema: 1,
      containerServiceAddress: '',
      containerServiceCertificate: '',
      instance: 'i',
    },
  },
});

describe('attaching', () => {
  test('is refused beyond a few streams of one session, which would fill the memory that all share, and goes on when they are gone', async () => {
    const client = new attach.AttachClient(bench.delivery().address, credentials.createInsecure());
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer session:${session}:p1`);
    const codes: number[] = [];
    const streams = Array.from({ length: 50 }, () => {
      const stream = client.attach(metadata);
      stream.on('data', () => {});
      stream.on('error', (error: ServiceError) => codes.push(error.code));
      return stream;
    });
    await until(() => codes.length === 42, 'the refusals');
    expect(new Set(codes)).toEqual(new Set([status.RESOURCE_EXHAUSTED]));
    for (const stream of streams) stream.cancel();
    client.close();
    // One that is let in hears what is wrong with its hello.
    await until(async () => (await dial(`session:${session}:p1`, hello('another'))) === status.PERMISSION_DENIED, 'one to be let in');
  });

  test('the runner is told the highest seq and a secret that is good for this connection', async () => {
    const one = runner('p1');
    await until(() => one.received.length > 0);
    expect(one.received[0]).toMatchObject({
      message: { $case: 'welcome', value: { seq: 2, callerSecret: expect.stringMatching(/^.{40}$/) } },
    });
    const first = bench.delivery().runner(session)?.callerSecret;
    one.close();
    await until(() => bench.delivery().runner(session) === undefined, 'the detach');
    const two = runner('p1');
    await until(() => bench.delivery().runner(session) !== undefined);
    expect(bench.delivery().runner(session)).toMatchObject({ address: '127.0.0.1:9090', certificate: 'PEM' });
    expect(bench.delivery().runner(session)?.callerSecret).not.toBe(first);
    two.close();
  });

  test('a runner may attach as its own session alone, and only to a cell that is here', async () => {
    expect(await dial('session:another:1', hello(session))).toBe(7);
    expect(await dial('role:gateway', hello(session))).toBe(7);
    expect(await dial('session:nobody-here:1', hello('nobody-here'))).toBe(5);
    expect(await dial('session:../../etc:1', hello('../../etc'))).toBe(5);
  });

  test('whoever speaks before hello is refused', async () => {
    expect(await dial(`session:${session}:1`, { message: { $case: 'outbox', value: { seq: 1 } } })).toBe(3);
  });

  test('a newer instance takes the place of the older one, which cannot take it back', async () => {
    const old = runner('p1', 'old');
    await until(() => bench.delivery().runner(session) !== undefined);
    const young = runner('p2', 'young');
    expect(await old.ended).toContain('ABORTED');
    const again = runner('p1', 'old');
    expect(await again.ended).toContain('a newer runner has taken this session over');
    await bench.enqueue({ eventId: 'e2' });
    await until(() => young.received.some(({ message }) => message?.$case === 'inbox'), 'the doorbell of the younger');
    for (const one of [old, young, again]) one.close();
  });

  test('2,000 streams that come and go leave nothing behind, and the last one works', async () => {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer session:${session}:p1`);
    for (let n = 0; n < 2_000; n += 100) {
      const client = new attach.AttachClient(bench.delivery().address, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      });
      for (let i = 0; i < 100; i += 1) {
        const stream = client.attach(metadata);
        const welcomed = Promise.withResolvers<void>();
        const ended = Promise.withResolvers<void>();
        stream.once('data', () => welcomed.resolve());
        stream.on('error', (error) => welcomed.reject(error));
        stream.on('end', () => ended.resolve());
        stream.write(hello(session));
        await welcomed.promise;
        if (i === 99) break; // and the connection as a whole is cut
        stream.end();
        await ended.promise;
      }
      client.close();
    }
    await until(() => bench.delivery().runner(session) === undefined, 'the last detach');
    const last = runner('p1');
    await until(() => last.received.length > 0);
    last.close();
  });
});
