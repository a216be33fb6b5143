import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { inbox } from '@dovecote/proto';
import { credentials } from '@grpc/grpc-js';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { agentGroups } from '../../kube/resource-types.ts';
import { systemClock } from '../../lib/clock.ts';
import { bearer, type Metadata } from '../../lib/grpc.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { plainTokens } from './tokens.ts';

export interface SpawnedDelivery {
  readonly client: inbox.InboxClient;
  readonly metadata: Metadata;
  readonly process: ChildProcess;
  /** resolves when the process is gone */
  readonly gone: Promise<unknown>;
  /** bytes, the most it ever had */
  maxRss(): Promise<number>;
  kill(): Promise<void>;
}

/** A volume and a store with the agent `helper`, on which deliveries of other processes run one after the other. */
export async function createVolume() {
  const folder = mkdtempSync(join(tmpdir(), 'dovecote-crash-'));
  const path = join(folder, 'store.db');
  const store = new EmbeddedStore({ path, namespace: 'test', clock: systemClock, random: systemRandom, log: silentLog });
  await store.create(
    agentGroups,
    { metadata: { name: 'helper' }, spec: { provider: { type: 'demo', demo: {} }, limits: { maxAwake: 200 } } },
    { fieldManager: 'test' },
  );
  await store.applyStatus(agentGroups, 'helper', { shards: ['0'] }, { fieldManager: 'test' });
  await store.close();
  const root = join(folder, 'volume');
  return {
    root,
    start: async (crashPoint = '-'): Promise<SpawnedDelivery> => {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'delivery-process.ts'), root, path, '127.0.0.1:1', crashPoint], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...process.env, NODE_OPTIONS: '' },
      });
      const gone = once(child, 'exit');
      const lines = createInterface({ input: child.stdout });
      const [address] = (await once(lines, 'line')) as [string];
      const client = new inbox.InboxClient(address, credentials.createInsecure());
      return {
        client,
        metadata: await bearer(plainTokens('role:gateway'), 'dovecote-delivery'),
        process: child,
        gone,
        maxRss: async () => {
          child.kill('SIGUSR2');
          const [bytes] = (await once(lines, 'line')) as [string];
          return Number(bytes);
        },
        kill: async () => {
          client.close();
          child.kill('SIGKILL');
          await gone;
        },
      };
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
