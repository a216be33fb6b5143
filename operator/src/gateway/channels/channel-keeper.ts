/** Keeps one Channel connected for as long as it exists: makes the connection, makes it anew when it dies or its spec or Secret changes. */
import { createHash } from 'node:crypto';
import type { Channel } from '@dovecote/crds';
import { type Backoff, backoffMs } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { abandonAfter } from '../../lib/deadline.ts';
import { TerminalError, toError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import { TaskGroup } from '../../lib/task-group.ts';
import { type ChannelType, type ConnectedChannel, credentialsOf, type Sink } from './channel.ts';
import { connectedStatus, type Health } from './connected-status.ts';
import type { Ownership } from './ownership.ts';

export interface KeeperTimes {
  readonly retry: Backoff;
  /** When the platform or the cluster said that only a new Secret or spec helps: rarely, in case that was not true. */
  readonly refusedRetry: Backoff;
  readonly connectMs: number;
  /** How often Secrets are read again: nothing tells us when one changes. */
  readonly secretsMs: number;
  /** How often an idle connection is asked whether it still is one. */
  readonly verifyMs: number;
}

export const KEEPER_TIMES: KeeperTimes = {
  retry: { baseMs: 1_000, maxMs: 60_000 },
  refusedRetry: { baseMs: 30_000, maxMs: 300_000 },
  connectMs: 20_000,
  secretsMs: 30_000,
  verifyMs: 60_000,
};

export interface KeeperDeps {
  readonly type: ChannelType;
  readonly secrets: (name: string) => Promise<Readonly<Record<string, string>> | undefined>;
  readonly publicUrl: string | undefined;
  readonly ownership: Ownership;
  /** Where events go: routed and durable when it resolves. */
  readonly receive: (channel: Channel, ...events: Parameters<Sink>) => Promise<void>;
  /** Writes the gateway's part of the status. Rejects when it could not. */
  readonly writeStatus: (name: string, status: object) => Promise<void>;
  readonly onOwnMessage: (channel: string) => void;
  readonly times: KeeperTimes;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface Wanted {
  readonly fingerprint: string;
  readonly credentials: Readonly<Record<string, string>> | Error;
}

interface Connection {
  readonly connected: ConnectedChannel;
  readonly fingerprint: string;
  readonly since: number;
  /** Aborts when another connection takes its place, or the Channel goes. */
  readonly replaced: AbortController;
}

export class ChannelKeeper {
  readonly #deps: KeeperDeps;
  readonly #log: Log;
  readonly #tasks = new TaskGroup();
  #channel: Channel;
  #connection: Connection | undefined;
  #health: Health = { type: 'connecting' };
  /** The connection that was found dead: it goes on delivering until a new one is there, but a new one is wanted. */
  #dead: Connection | undefined;
  #bell = Promise.withResolvers<void>();
  #written = '';

  constructor(channel: Channel, deps: KeeperDeps) {
    this.#channel = channel;
    this.#deps = deps;
    this.#log = deps.log.child({ channel: channel.metadata.name });
    this.#tasks.run(`connect ${channel.metadata.name}`, (signal) => this.#keepConnected(signal));
    this.#tasks.run(`own ${channel.metadata.name}`, (signal) =>
      deps.ownership.hold(`dovecote-channel-${channel.metadata.name}`, (own) => this.#own(own), signal),
    );
  }

  /** Aborts with the name of the task that died: a bug, never a platform's doing. */
  get ended(): AbortSignal {
    return this.#tasks.signal;
  }

  get channel(): Channel {
    return this.#channel;
  }

  get connected(): ConnectedChannel | undefined {
    return this.#connection?.connected;
  }

  /** What keeps it from working; undefined: it works. */
  get problem(): string | undefined {
    if (this.#connection !== undefined) return undefined;
    return this.#health.type === 'broken' ? this.#health.error.message : 'the first connection is being made';
  }

  update(channel: Channel): void {
    this.#channel = channel;
    this.#ring();
  }

  async close(): Promise<void> {
    this.#connection?.replaced.abort();
    await this.#tasks.close();
    await this.#connection?.connected.close();
    this.#connection = undefined;
  }

  async #keepConnected(signal: AbortSignal): Promise<void> {
    let failed: { readonly fingerprint: string; readonly attempts: number; readonly retryAt: number } | undefined;
    while (!signal.aborted) {
      const bell = this.#bell.promise;
      const wanted = await this.#wanted();
      const current = this.#connection;
      const stale = current === undefined || current === this.#dead || current.fingerprint !== wanted.fingerprint;
      const now = this.#deps.clock.now();
      // A failure is remembered for what was tried: a new Secret is tried at once.
      if (stale && (failed === undefined || failed.fingerprint !== wanted.fingerprint || now >= failed.retryAt)) {
        try {
          await this.#connect(wanted, signal);
          failed = undefined;
        } catch (thrown) {
          if (signal.aborted) return;
          const error = toError(thrown);
          const attempts = (failed?.fingerprint === wanted.fingerprint ? failed.attempts : 0) + 1;
          const waitMs = backoffMs(
            attempts,
            error instanceof TerminalError ? this.#deps.times.refusedRetry : this.#deps.times.retry,
            this.#deps.random,
          );
          failed = { fingerprint: wanted.fingerprint, attempts, retryAt: this.#deps.clock.now() + waitMs };
          this.#failed(error);
          this.#log.warn({ err: error, attempts, waitMs, oldStillRuns: this.#working }, 'channel could not be connected');
        }
        continue;
      }
      // Its spec is what was tried last, again: nothing is pending any more.
      if (!stale && this.#health.type === 'connected' && this.#health.pending !== undefined)
        this.#say({ type: 'connected', account: current.connected.account, since: current.since });
      const waitMs =
        stale && failed !== undefined ? Math.min(failed.retryAt - now, this.#deps.times.secretsMs) : this.#deps.times.secretsMs;
      await this.#wait(waitMs, bell, signal);
    }
  }

  /** What the spec and the Secret say now. A Secret that cannot be read is a reason to keep what runs. */
  async #wanted(): Promise<Wanted> {
    const { spec } = this.#channel;
    const secret = credentialsOf(spec);
    let credentials: Readonly<Record<string, string>> | Error = {};
    if (secret !== undefined) {
      try {
        credentials =
          (await this.#deps.secrets(secret)) ?? new TerminalError('SecretMissing', `cannot connect: the Secret ${secret} does not exist`);
      } catch (thrown) {
        credentials = new Error(`cannot connect: the Secret ${secret} could not be read: ${toError(thrown).message}`, { cause: thrown });
      }
    }
    const settings = JSON.stringify([
      spec.type,
      spec.slack,
      spec.telegram,
      credentials instanceof Error ? credentials.message : Object.entries(credentials).sort(),
    ]);
    return { fingerprint: createHash('sha256').update(settings).digest('hex'), credentials };
  }

  async #connect({ fingerprint, credentials }: Wanted, signal: AbortSignal): Promise<void> {
    if (credentials instanceof Error) throw credentials;
    const { type, publicUrl, clock, random, times, onOwnMessage } = this.#deps;
    const { name } = this.#channel.metadata;
    const options = {
      name,
      spec: this.#channel.spec,
      credentials,
      publicUrl,
      clock,
      random,
      log: this.#log,
      onOwnMessage: () => onOwnMessage(name),
    };
    const connected = await abandonAfter({ ms: times.connectMs, what: 'connect', clock, signal }, (within) =>
      type.connect(options, within),
    );
    const old = this.#connection;
    this.#connection = { connected, fingerprint, since: clock.now(), replaced: new AbortController() };
    this.#dead = undefined;
    old?.replaced.abort();
    this.#log.info({ account: connected.account, replaced: old !== undefined }, 'channel connected');
    // A connection that has to listen is up when it hears something.
    if (connected.listen === undefined) this.#say({ type: 'connected', account: connected.account, since: clock.now() });
    else this.#ring();
    await old?.connected.close();
  }

  get #working(): boolean {
    return this.#connection !== undefined && this.#connection !== this.#dead;
  }

  #failed(error: Error): void {
    if (this.#working && this.#connection !== undefined && this.#health.type === 'connected') {
      this.#say({ type: 'connected', account: this.#connection.connected.account, since: this.#connection.since, pending: error });
    } else this.#say({ type: 'broken', error });
  }

  /** What only one replica does: listen, look after the connection, and write the status. */
  async #own(signal: AbortSignal): Promise<void> {
    this.#written = ''; // another replica may have written since
    const statusWriter = this.#writeStatuses(signal);
    let deaths = 0;
    while (!signal.aborted) {
      const bell = this.#bell.promise;
      const connection = this.#connection;
      if (connection === undefined || connection === this.#dead) {
        await this.#wait(this.#deps.times.secretsMs, bell, signal);
        continue;
      }
      const until = AbortSignal.any([signal, connection.replaced.signal]);
      const startedAt = this.#deps.clock.now();
      try {
        if (connection.connected.listen === undefined) await this.#verifying(connection, until);
        else {
          await connection.connected.listen(
            (events) => this.#deps.receive(this.#channel, events),
            until,
            () => this.#say({ type: 'connected', account: connection.connected.account, since: this.#deps.clock.now() }),
          );
        }
      } catch (thrown) {
        if (until.aborted) continue;
        const error = toError(thrown);
        this.#log.warn({ err: error }, 'channel lost its connection, which is made anew');
        this.#dead = connection;
        this.#say({ type: 'broken', error });
        // A connection that is made and dies at once, again and again, must not become a hammer.
        deaths = this.#deps.clock.now() - startedAt > this.#deps.times.retry.maxMs ? 1 : deaths + 1;
        await this.#deps.clock.sleep(backoffMs(deaths, this.#deps.times.retry, this.#deps.random), signal).catch(() => {});
      }
    }
    await statusWriter;
  }

  async #verifying(connection: Connection, signal: AbortSignal): Promise<void> {
    const { clock, times } = this.#deps;
    while (!signal.aborted) {
      await clock.sleep(times.verifyMs, signal).catch(() => {});
      if (signal.aborted) return;
      await abandonAfter({ ms: times.connectMs, what: 'verify the account', clock, signal }, (within) =>
        connection.connected.verify(within),
      );
    }
  }

  async #writeStatuses(signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; ) {
      const bell = this.#bell.promise;
      const { name } = this.#channel.metadata;
      const webhook = this.#connection?.connected.webhook !== undefined;
      const status = connectedStatus(this.#channel, this.#health, webhook, this.#deps.clock.now());
      // Times apart: they are new each time, and alone no reason to write.
      const said = JSON.stringify(status, (key, value: unknown) => (key === 'lastTransitionTime' ? undefined : value));
      if (said !== this.#written) {
        try {
          await this.#deps.writeStatus(name, status);
          this.#written = said;
          attempt = 0;
        } catch (thrown) {
          attempt += 1;
          this.#log.warn({ err: toError(thrown) }, 'status of the channel could not be written, it is tried again');
          await this.#deps.clock.sleep(backoffMs(attempt, this.#deps.times.retry, this.#deps.random), signal).catch(() => {});
          continue;
        }
      }
      await this.#wait(this.#deps.times.secretsMs, bell, signal);
    }
  }

  #say(health: Health): void {
    this.#health = health;
    this.#ring();
  }

  /** Wakes every loop of this keeper, also one that is just about to wait. */
  #ring(): void {
    this.#bell.resolve();
    this.#bell = Promise.withResolvers();
  }

  async #wait(ms: number, bell: Promise<void>, signal: AbortSignal): Promise<void> {
    const done = new AbortController();
    const stop = (): void => done.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    await Promise.race([bell, this.#deps.clock.sleep(Math.max(1, ms), done.signal).catch(() => {})]);
    signal.removeEventListener('abort', stop);
    done.abort();
  }
}
