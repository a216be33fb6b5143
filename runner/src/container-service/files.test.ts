import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { verifies } from '@dovecote/e2e/verifies.ts';
import { type containerService, health } from '@dovecote/proto';
import { Metadata, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestCell } from '../testing/cell.ts';
import { until } from '../testing/runner-process.ts';
import { Running } from '../testing/running.ts';
import { ServiceCaller } from '../testing/service-caller.ts';

const running = new Running();
let cell: TestCell;
let caller: ServiceCaller;
beforeAll(async () => {
  cell = running.cell();
  caller = await ServiceCaller.of(running, cell);
});
afterAll(async () => {
  caller.close();
  await running.close();
});
const inWorkspace = (name: string): string => join(cell.workspace, name);
const write = (fields: Partial<containerService.WriteFileRequest> & { path: string }) =>
  caller.call(caller.client.writeFile, { text: 'x', expectedEtag: '', createParents: false, ...fields });
const read = (path: string, lines: { offsetLines?: number; limitLines?: number } = {}) =>
  caller.call(caller.client.readFile, { path, offsetLines: 0, limitLines: 0, ...lines });
const list = (path: string, page: { limit?: number; after?: string } = {}) =>
  caller.call(caller.client.listDir, { path, limit: 0, after: '', ...page });
const stat = (path: string) => caller.call(caller.client.stat, { path });
const mkdir = (path: string, parents = false) => caller.call(caller.client.mkdir, { path, parents });
const rename = (from: string, to: string, replace = false) => caller.call(caller.client.rename, { from, to, replace });
const remove = (path: string, recursive = false) => caller.call(caller.client.deleteFile, { path, recursive });
const code = (wanted: status) => ({ code: wanted });
const leftovers = (): string[] =>
  readdirSync(cell.workspace, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.tmp'));

describe('who may call', () => {
  verifies('pod/tls-per-session', "only who pins this Pod's certificate and shows the secret of its stream, for health too", async () => {
    const healthOf = new health.HealthClient(caller.address, caller.credentials, caller.options);
    const check = (service: string, metadata: Metadata) =>
      new Promise((resolve) => healthOf.check({ service }, metadata, (e, response) => resolve(e?.code ?? response.status)));
    for (const secret of ['wrong', '', undefined]) {
      const other = new Metadata();
      if (secret !== undefined) other.set('x-dovecote-caller', secret);
      await expect(caller.call(caller.client.stat, { path: '.' }, other)).rejects.toMatchObject(code(status.UNAUTHENTICATED));
      expect(await check('', other)).toBe(status.UNAUTHENTICATED);
    }
    expect(await check('', caller.metadata)).toBe(health.HealthCheckResponse_ServingStatus.SERVING);
    expect(await check('dovecote.v1.ContainerService', caller.metadata)).toBe(health.HealthCheckResponse_ServingStatus.SERVING);
    expect(await check('another', caller.metadata)).toBe(status.NOT_FOUND);
    const watched = await new Promise((resolve) => {
      const watch = healthOf.watch({ service: '' }, caller.metadata);
      watch.on('error', () => {});
      watch.once('data', ({ status: state }: health.HealthCheckResponse) => {
        watch.cancel();
        resolve(state);
      });
    });
    expect(watched).toBe(health.HealthCheckResponse_ServingStatus.SERVING);
    healthOf.close();

    // Another Pod has another key: whoever pins that one never gets through to this Pod, not even with the right secret.
    const other = await ServiceCaller.of(running, running.cell());
    const mistaken = new health.HealthClient(caller.address, other.credentials, caller.options);
    const refused = await new Promise((resolve) =>
      mistaken.check({ service: '' }, caller.metadata, { deadline: Date.now() + 30_000 }, (e) => resolve(e?.code)),
    );
    expect(refused).toBe(status.UNAVAILABLE);
    mistaken.close();
    other.close();
  });
});

describe('files', () => {
  verifies('pod/container-service', 'text is written, read by lines, listed by pages, moved and deleted', async () => {
    const written = await write({ path: '/workspace/a.txt', text: 'one\ntwo\nthree\n' });
    expect(written.info).toMatchObject({ path: '/workspace/a.txt', sizeBytes: 14, mode: 0o644, type: 1 });
    expect(await read('a.txt', { offsetLines: 1, limitLines: 1 })).toMatchObject({
      text: 'two\n',
      totalLines: 3,
      info: { etag: written.info?.etag },
    });
    expect((await stat('a.txt')).info).toEqual(written.info);

    await mkdir('tree/deep', true);
    await mkdir('tree/deep', true);
    await expect(mkdir('tree/deep')).rejects.toMatchObject(code(status.ABORTED));
    await expect(mkdir('no/such')).rejects.toMatchObject(code(status.NOT_FOUND));
    for (const name of ['c', 'b', 'a']) await write({ path: `tree/${name}` });
    const first = await list('/workspace/tree', { limit: 2 });
    expect([first.entries.map(({ path }) => path), first.more]).toEqual([['/workspace/tree/a', '/workspace/tree/b'], true]);
    const second = await list('tree', { limit: 2, after: 'b' });
    expect([second.entries.map(({ path }) => path), second.more]).toEqual([['/workspace/tree/c', '/workspace/tree/deep'], false]);

    await expect(rename('tree/a', 'tree/b')).rejects.toMatchObject(code(status.ABORTED));
    await write({ path: 'tree/a', text: 'of a' });
    expect((await rename('tree/a', 'tree/b', true)).info).toMatchObject({ path: '/workspace/tree/b', sizeBytes: 4 });
    await rename('tree/b', 'tree/d');
    await expect(stat('tree/b')).rejects.toMatchObject(code(status.NOT_FOUND));
    await expect(rename('tree', 'tree/deep/tree')).rejects.toMatchObject(code(status.INVALID_ARGUMENT));
    await expect(rename('tree/d', '/agent/d')).rejects.toMatchObject({
      ...code(status.INVALID_ARGUMENT),
      details: expect.stringContaining('another root'),
    });
    await expect(rename('tree', 'a.txt', true)).rejects.toMatchObject(code(status.INVALID_ARGUMENT));

    await expect(remove('tree')).rejects.toMatchObject({
      ...code(status.INVALID_ARGUMENT),
      details: '/workspace/tree is a folder that is not empty',
    });
    await remove('tree', true);
    await expect(remove('tree', true)).rejects.toMatchObject(code(status.NOT_FOUND));
    expect(existsSync(inWorkspace('tree'))).toBe(false);
    await expect(remove('/workspace', true)).rejects.toMatchObject(code(status.INVALID_ARGUMENT));
  });

  verifies('pod/container-service', 'raw bytes go both ways in parts, of any size up to the limit, and from any offset', async () => {
    const data = randomBytes(9 * 1024 * 1024 + 17);
    const parts = function* (): Generator<Buffer> {
      for (let at = 0; at < data.length; at += 1024 * 1024) yield data.subarray(at, at + 1024 * 1024);
    };
    const info = await caller.writeRaw({ path: 'raw/big.bin', mode: 0o640, createParents: true }, parts());
    expect(info).toMatchObject({ path: '/workspace/raw/big.bin', sizeBytes: data.length, mode: 0o640 });
    expect((await caller.readRaw('raw/big.bin')).equals(data)).toBe(true);
    expect((await caller.readRaw('raw/big.bin', data.length - 5)).equals(data.subarray(-5))).toBe(true);
    expect((await caller.readRaw('raw/big.bin', 10, 3)).equals(data.subarray(10, 13))).toBe(true);
    expect(await caller.readRaw('raw/big.bin', data.length + 1)).toHaveLength(0);
    await expect(read('raw/big.bin')).rejects.toMatchObject(code(status.RESOURCE_EXHAUSTED));
    await caller.writeRaw({ path: 'raw/small.bin' }, [Buffer.from([0, 1])]);
    await expect(read('raw/small.bin')).rejects.toMatchObject({
      ...code(status.INVALID_ARGUMENT),
      details: expect.stringContaining('binary'),
    });
    await caller.writeRaw({ path: 'raw/empty' }, []);
    expect(await caller.readRaw('raw/empty')).toHaveLength(0);
    await expect(caller.readRaw('raw/big.bin', -1)).rejects.toMatchObject(code(status.INVALID_ARGUMENT));
  });

  test('an etag that is no longer true refuses the write, also when the file changed while its parts came', async () => {
    const first = await write({ path: 'etag', expectedEtag: '-' });
    await expect(write({ path: 'etag', expectedEtag: '-' })).rejects.toMatchObject(code(status.ABORTED));
    await write({ path: 'etag', text: 'changed', expectedEtag: first.info?.etag ?? '' });
    await expect(write({ path: 'etag', expectedEtag: first.info?.etag ?? '' })).rejects.toMatchObject(code(status.ABORTED));
    const { info } = await stat('etag');
    const refused = Promise.withResolvers<unknown>();
    const stream = caller.client.writeRaw(caller.metadata, (e) => refused.resolve(e));
    stream.on('error', () => {});
    stream.write({ part: { $case: 'info', value: { path: 'etag', mode: 0, expectedEtag: info?.etag ?? '', createParents: false } } });
    stream.write({ part: { $case: 'chunk', value: Buffer.from('mine') } });
    await until('its parts are written aside', () => leftovers().length === 1);
    await write({ path: 'etag', text: 'theirs' });
    stream.write({ part: { $case: 'commit', value: true } });
    stream.end();
    expect(await refused.promise).toMatchObject(code(status.ABORTED));
    expect([readFileSync(inWorkspace('etag'), 'utf8'), leftovers()]).toEqual(['theirs', []]);
  });

  test('a caller that leaves in the middle of a write has changed nothing', async () => {
    await write({ path: 'kept', text: 'before' });
    for (let n = 0; n < 10; n += 1) {
      const stream = caller.client.writeRaw(caller.metadata, () => {});
      stream.on('error', () => {});
      stream.write({ part: { $case: 'info', value: { path: 'kept', mode: 0, expectedEtag: '', createParents: false } } });
      stream.write({ part: { $case: 'chunk', value: Buffer.alloc(100_000) } });
      await until('its parts are written aside', () => leftovers().length === 1);
      stream.cancel();
      await until('they are gone', () => leftovers().length === 0);
      expect(statSync(inWorkspace('kept')).size).toBe(6);
    }
  });

  test('a reader of a raw file that takes its time holds up nobody, and one that is replaced meanwhile is read to its end', async () => {
    writeFileSync(inWorkspace('slow'), Buffer.alloc(20_000_000, 1));
    const stream = caller.client.readRaw({ path: 'slow', offset: 0, length: 0 }, caller.metadata);
    const parts = stream[Symbol.asyncIterator]() as AsyncIterator<containerService.ReadRawResponse>;
    const first = await parts.next();
    await write({ path: 'slow', text: 'new' });
    let total = 0;
    for (let part = first; part.done !== true; part = await parts.next()) total += part.value.chunk.length;
    expect([total, (await read('slow')).text]).toEqual([20_000_000, 'new']);
  });
});

describe('the jail', () => {
  verifies(
    'pod/path-jail',
    'no path leads outside: not by .., not by an absolute name, not by a link in its place or on its way',
    async () => {
      symlinkSync('/etc', inWorkspace('out'));
      symlinkSync('/etc/passwd', inWorkspace('passwd'));
      symlinkSync('kept', inWorkspace('inside'));
      const everywhere = [
        '../in/inbound.db',
        '/etc/passwd',
        'a/../../../etc/passwd',
        '/workspacex/a',
        '/proc/self/environ',
        'out/passwd',
        'passwd',
        'inside',
      ];
      for (const path of everywhere) {
        const refused = code(status.PERMISSION_DENIED);
        await expect(read(path)).rejects.toMatchObject(refused);
        await expect(caller.readRaw(path)).rejects.toMatchObject(refused);
        await expect(write({ path })).rejects.toMatchObject(refused);
        await expect(caller.writeRaw({ path, createParents: true }, [])).rejects.toMatchObject(refused);
      }
      for (const path of ['../x', '/etc/x', 'out/x']) {
        const refused = code(status.PERMISSION_DENIED);
        await expect(mkdir(path, true)).rejects.toMatchObject(refused);
        await expect(remove(path, true)).rejects.toMatchObject(refused);
        await expect(rename('kept', path)).rejects.toMatchObject(refused);
        await expect(rename(path, 'taken')).rejects.toMatchObject(refused);
        await expect(list(path)).rejects.toMatchObject(refused);
      }
      await expect(list('out')).rejects.toMatchObject(code(status.PERMISSION_DENIED));
      await expect(read('a\0b')).rejects.toMatchObject(code(status.INVALID_ARGUMENT));
      await expect(read('n'.repeat(300))).rejects.toMatchObject(code(status.INVALID_ARGUMENT));
      // A link is an entry like any other: seen, moved and deleted as a link.
      expect((await stat('out')).info).toMatchObject({ type: 3 });
      await rename('out', 'out2');
      await remove('out2', true);
      expect([existsSync(inWorkspace('out2')), existsSync('/etc/passwd')]).toEqual([false, true]);
    },
  );

  verifies('pod/path-jail', 'a folder that is exchanged for a link again and again lets nothing through', async () => {
    const outside = join(cell.root, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'secret');
    mkdirSync(inWorkspace('swap'));
    symlinkSync(outside, inWorkspace('link'));
    const swap = `const { renameSync: mv, writeFileSync } = require('node:fs');
      writeFileSync('swaps', '');
      for (const end = Date.now() + 60_000; Date.now() < end; ) { mv('swap', 'real'); mv('link', 'swap'); mv('swap', 'link'); mv('real', 'swap'); }`;
    const swapper = caller.exec({ command: [process.execPath, '-e', swap] });
    await until('it swaps', () => existsSync(inWorkspace('swaps')));
    const refusals = new Set<string>();
    for (let n = 0; n < 400; n += 1) {
      const text = await read('swap/secret').then(
        (response) => response.text,
        (e: { details: string }) => {
          refusals.add(e.details);
          return '';
        },
      );
      expect(text).toBe('');
      if (n % 10 > 0) continue; // each of these waits for the disk
      await write({ path: 'swap/mine' }).catch(() => {});
      await mkdir('swap/folder').catch(() => {});
      await remove('swap/secret').catch(() => {});
    }
    expect([...refusals].some((details) => details.includes('link'))).toBe(true); // it was in its way
    swapper.call.cancel();
    expect(readdirSync(outside)).toEqual(['secret']);
  });

  verifies('pod/path-jail', 'modes are kept, pipes and devices are not opened, huge files and folders are taken in parts', async () => {
    await write({ path: 'run.sh', text: '#!/bin/sh\n' });
    chmodSync(inWorkspace('run.sh'), 0o751);
    await write({ path: 'run.sh', text: '#!/bin/sh\nexit\n' });
    await caller.writeRaw({ path: 'run.sh' }, [Buffer.from('#!/bin/sh\n')]);
    expect(statSync(inWorkspace('run.sh')).mode & 0o7777).toBe(0o751);
    expect(await caller.writeRaw({ path: 'setuid', mode: 0o4755 }, [])).toMatchObject({ mode: 0o755 });

    execFileSync('mkfifo', [inWorkspace('pipe')]);
    for (const work of [
      () => read('pipe'),
      () => caller.readRaw('pipe'),
      () => write({ path: 'pipe' }),
      () => caller.writeRaw({ path: 'pipe' }, []),
    ])
      await expect(work()).rejects.toMatchObject({
        ...code(status.INVALID_ARGUMENT),
        details: expect.stringContaining('not a regular file'),
      });
    for (const work of [() => read('.'), () => caller.readRaw('/agent'), () => list('run.sh')])
      await expect(work()).rejects.toMatchObject(code(status.INVALID_ARGUMENT));

    writeFileSync(inWorkspace('huge'), '');
    truncateSync(inWorkspace('huge'), 2 ** 40);
    await expect(read('huge')).rejects.toMatchObject(code(status.RESOURCE_EXHAUSTED));
    expect(await caller.readRaw('huge', 2 ** 40 - 3)).toHaveLength(3);
    await expect(write({ path: 'w', text: 'x'.repeat(3 * 1024 * 1024 + 1) })).rejects.toMatchObject(code(status.RESOURCE_EXHAUSTED));

    mkdirSync(inWorkspace('many'));
    for (let n = 0; n < 3_000; n += 1) writeFileSync(inWorkspace(`many/${String(n).padStart(4, '0')}`), '');
    const page = await list('many', { limit: 5, after: '2499' });
    expect([page.entries.map(({ path }) => path.slice(-4)), page.more]).toEqual([['2500', '2501', '2502', '2503', '2504'], true]);
    await remove('many', true);
  });

  verifies('pod/path-jail', 'names that are no UTF-8 are seen and removed, and trees deeper than any path allows', async () => {
    mkdirSync(inWorkspace('odd'));
    writeFileSync(Buffer.concat([Buffer.from(inWorkspace('odd/')), Buffer.from([0x66, 0xff, 0xfe])]), 'x');
    expect((await list('odd')).entries).toMatchObject([{ path: '/workspace/odd/f\ufffd\ufffd', type: 1 }]);
    await expect(read('odd/f\ufffd\ufffd')).rejects.toMatchObject(code(status.NOT_FOUND));
    execFileSync('sh', ['-c', 'd=$(printf "%0200d" 0); for i in $(seq 60); do mkdir $d && cd -P $d && touch f; done'], {
      cwd: inWorkspace('odd'),
    });
    await remove('odd', true);
    expect(existsSync(inWorkspace('odd'))).toBe(false);
  });
});
