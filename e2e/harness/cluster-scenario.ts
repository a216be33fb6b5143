/**
 * One scenario on the cluster: objects and emulators of its own beside those of the others, in the one installation. What it made goes
 * when it ends; what people need to understand a failure is written down before.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { BOT_TOKEN, SlackEmulator, type SlackMessage } from '../emulators/slack.ts';
import { verifies } from '../verifies.ts';
import {
  apply,
  conditionOf,
  fact,
  gatewayUrl,
  type Json,
  type KubeObject,
  kubectl,
  list,
  untilCondition,
  untilInstallationReady,
  untilObject,
} from './cluster.ts';
import { writeDiagnostics } from './cluster-diagnostics.ts';
import { person } from './cluster-person.ts';
import { until } from './until.ts';
import { type House, WebChat } from './web-chat.ts';

export const API_VERSION = 'dovecote.dev/v1alpha1';

/** A chat on the Slack emulator, wired to an agent. */
export interface SlackChat {
  readonly slack: SlackEmulator;
  /** Name of the Channel, and of its MessagingGroup. */
  readonly channel: string;
  readonly agent: string;
  /** The path on the gateway that Slack calls. */
  readonly webhook: string;
}

export class Scenario {
  readonly id: string = randomBytes(3).toString('hex');
  readonly #undo: (() => Promise<unknown>)[] = [];

  /** A name that no other scenario has. */
  name(what: string): string {
    return `${what}-${this.id}`;
  }

  /** Runs when the scenario ends, the last one first. */
  later(undo: () => Promise<unknown>): void {
    this.#undo.push(undo);
  }

  /** Applies objects of ours and removes them at the end. */
  async make(...objects: readonly Json[]): Promise<void> {
    for (const object of objects) {
      const { kind, metadata } = object as { kind: string; metadata: { name: string } };
      this.later(() => kubectl('delete', kind, metadata.name, '--ignore-not-found', '--wait=false'));
    }
    await apply(...objects);
  }

  /** An agent of the demo provider that sleeps late, unless `spec` says otherwise. Ready when this resolves. */
  async agent(spec: Json = {}, name: string = this.name('agent')): Promise<KubeObject> {
    await this.make(agentGroup(name, spec));
    return untilCondition('agentgroup', name, 'Ready', 'True');
  }

  async slack(): Promise<SlackEmulator> {
    const slack = await SlackEmulator.start(fact('HOST_IP'));
    this.later(() => slack.close());
    return slack;
  }

  /** Slack, connected by webhook and wired to an agent: each thread a session of its own, everyone let in, every message heard. */
  async slackChat(
    agent: string,
    options: {
      readonly sessionMode?: 'Shared' | 'PerThread';
      /** Where the gateway finds the Web API, when not at the emulator itself. */
      readonly apiUrl?: (slack: SlackEmulator) => Promise<string>;
    } = {},
  ): Promise<SlackChat> {
    const slack = await this.slack();
    const channel = this.name(`slack${this.#undo.length}`);
    await this.make(
      slackSecret(channel, slack),
      slackChannel(channel, (await options.apiUrl?.(slack)) ?? slack.apiUrl),
      messagingGroup(channel, channel, slack.chat, agent, options.sessionMode ?? 'PerThread'),
    );
    await untilCondition('channel', channel, 'Connected', 'True');
    await untilCondition('messaginggroup', channel, 'Ready', 'True');
    const webhook = `${await gatewayUrl()}/channels/${channel}`;
    await untilEveryGateway(async () => {
      const response = await fetch(webhook, {
        method: 'POST',
        body: '{}',
        headers: { 'content-type': 'application/json', connection: 'close' },
      });
      await response.text();
      return response.status === 401; // it asks for a signature: it knows the Channel
    });
    slack.subscribe(webhook);
    return { slack, channel, agent, webhook };
  }

  /** Someone on the web chat of this agent: each chat of it is a session of its own. */
  async webChat(agent: string): Promise<() => WebChat> {
    const channel = this.name('web');
    await this.make(
      { apiVersion: API_VERSION, kind: 'Channel', metadata: { name: channel }, spec: { type: 'local' } },
      {
        apiVersion: API_VERSION,
        kind: 'MessagingGroup',
        metadata: { name: channel },
        spec: {
          channelRef: channel,
          chatClass: 'Any',
          unknownSenders: 'Public',
          agents: [{ agentGroupRef: agent, engage: { mode: 'Always' } }],
        },
      },
    );
    const { request } = await person(this, [{ resource: 'channels', verbs: ['chat'] }]);
    await untilCondition('messaginggroup', channel, 'Ready', 'True');
    const over = new AbortController();
    this.later(async () => over.abort());
    const house: House = { request, disposed: over.signal, complaints: () => [] };
    const chat = (): WebChat => new WebChat(house, channel, randomUUID());
    await untilEveryGateway(async () => {
      const response = await request(`/api/channels/${channel}/chats/none/messages`, {
        method: 'POST',
        body: '{}',
        headers: { connection: 'close' },
      });
      await response.text();
      return response.status === 400; // it reads the message: it knows the Channel
    });
    return chat;
  }

  async close(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
  }
}

/** A test on the cluster that shows requirement `id` to hold. Fails with the folder that tells what the cluster looked like. */
export function clusterVerifies(id: string, behaviour: string, run: (scenario: Scenario) => Promise<void>, timeoutMs = 120_000): void {
  verifies(
    id,
    behaviour,
    async () => {
      const scenario = new Scenario();
      try {
        await untilInstallationReady(); // the one before may have broken it, as it was to
        await run(scenario);
      } catch (e) {
        const folder = await writeDiagnostics(`${id}-${behaviour}`);
        throw new Error(`${e instanceof Error ? e.message : String(e)}\n(the cluster at that moment: ${folder})`, { cause: e });
      } finally {
        await scenario.close();
      }
    },
    timeoutMs,
  );
}

export const agentGroup = (name: string, spec: Json = {}): Json => ({
  apiVersion: API_VERSION,
  kind: 'AgentGroup',
  metadata: { name },
  spec: { provider: { type: 'demo' }, idleTimeout: '10m', resources: { requests: { cpu: '10m', memory: '64Mi' } }, ...spec },
});

export const slackSecret = (name: string, slack: SlackEmulator): Json => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name },
  stringData: { 'bot-token': BOT_TOKEN, 'signing-secret': slack.signingSecret },
});

export const slackChannel = (name: string, apiURL: string): Json => ({
  apiVersion: API_VERSION,
  kind: 'Channel',
  metadata: { name },
  spec: { type: 'slack', slack: { mode: 'Webhook', apiURL, credentialsRef: { name } } },
});

export const messagingGroup = (name: string, channel: string, chatId: string, agent: string, sessionMode: string): Json => ({
  apiVersion: API_VERSION,
  kind: 'MessagingGroup',
  metadata: { name },
  spec: {
    channelRef: channel,
    chatId,
    unknownSenders: 'Public',
    agents: [{ agentGroupRef: agent, engage: { mode: 'Always' }, sessionMode }],
  },
});

/** Each replica connects by itself: until the last one has, the Service may choose one that knows nothing of the Channel. */
async function untilEveryGateway(knows: () => Promise<boolean>): Promise<void> {
  const asked = Array.from({ length: 12 });
  await until('every gateway knows the Channel', async () => (await Promise.all(asked.map(knows))).every(Boolean));
}

/** The Sessions of an agent, the newest last. */
export async function sessionsOf(agent: string): Promise<readonly KubeObject[]> {
  const sessions = await list('sessions');
  return sessions.filter(({ spec }) => spec?.['agentGroupRef'] === agent);
}

/** The one Session of an agent, as soon as it exists. */
export async function sessionOf(agent: string, timeoutMs = 30_000): Promise<KubeObject> {
  return until(`agent ${agent} has a session`, async () => (await sessionsOf(agent))[0], timeoutMs);
}

export const untilAwake = (session: string, timeoutMs = 60_000): Promise<KubeObject> =>
  untilCondition('session', session, 'Active', 'True', 'Awake', timeoutMs);

/** Asleep, its Pod gone. */
export const untilAsleep = (session: string, timeoutMs = 60_000): Promise<KubeObject> =>
  untilObject(
    'session',
    session,
    'is asleep',
    (object) => object.status?.['phase'] === 'Asleep' && conditionOf(object, 'Active')?.reason === 'Asleep',
    timeoutMs,
  );

export const texts = (messages: readonly SlackMessage[]): readonly string[] => messages.map(({ text }) => text);
