import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';
import { kill, type LocalChat } from '../../harness/local-mode.ts';
import { demoAgent, webAgent } from '../../harness/objects.ts';
import { seeded } from '../../harness/seeded.ts';
import { type SlackHouse, slackChats } from '../../harness/slack-house.ts';
import { slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

/** Until every message is taken or answered, over a dozen starts, on a machine that is busy with other things. */
const FOR_ALL_MS = 300_000;
/** Retries without the pauses that a platform deserves. */
const QUICK = ['--limits', JSON.stringify({ outbox: { backoff: { baseMs: 100, maxMs: 500 } } })];
const stage = slackStage({ manifests: { ...demoAgent('helper'), ...slackChats(), ...webAgent() } });

/** Every crash point of the operator, in the order of the path; the Pod's come when a session wakes for the first time. */
const POINTS = [
  'gateway/before-enqueue',
  'delivery/before-commit#2',
  'delivery/after-commit-before-answer',
  'gateway/after-enqueue-before-ack',
  'delivery/after-answer-before-wake',
  'controller/before-pod',
  'controller/after-pod-before-status',
  'delivery/after-read-before-sending',
  'delivery/after-sending-before-call#2',
  'gateway/before-platform-call',
  'gateway/after-platform-call',
  'delivery/after-call-before-record#2',
  'delivery/after-record-before-cleanup',
];

/** Points that are passed only when a session wakes for the first time: someone new speaks too. */
const FIRST_WAKE = new Set(['delivery/after-answer-before-wake', 'controller/before-pod', 'controller/after-pod-before-status']);

/** A conversation whose messages are counted: each has a word of its own, which its answer must hold exactly once. */
class Talk {
  readonly words: string[] = [];
  readonly #chat: LocalChat | undefined;
  readonly #scene: SlackHouse;
  readonly #name: string;

  constructor(scene: SlackHouse, name: string, chat?: LocalChat) {
    this.#scene = scene;
    this.#name = name;
    this.#chat = chat;
  }

  /** Sends until it is taken, whatever dies meanwhile: as a platform or a page does. */
  async say(script: string): Promise<void> {
    const word = `${this.#name}-${this.words.length}.`;
    this.words.push(word);
    const text = script.replaceAll('WORD', word);
    if (this.#chat !== undefined) return this.#chat.insist(text, randomUUID(), FOR_ALL_MS);
    const { body } = this.#scene.event({ text });
    await until(
      `${word} is taken`,
      async () => {
        try {
          return (await this.#scene.post(body, this.#scene.slack.signature(body))) === 200;
        } catch {
          return false;
        }
      },
      FOR_ALL_MS,
    );
  }

  async answers(): Promise<readonly string[]> {
    return this.#chat === undefined ? (await this.#scene.slack.inChat()).map(({ text }) => text) : this.#chat.answers();
  }

  /** Waits for every answer; then each must be there once. */
  async whole(): Promise<void> {
    const missing = async (): Promise<string[]> => {
      const said = (await this.answers()).join('\n');
      return this.words.filter((word) => !said.includes(word));
    };
    await until(`${this.#name} has all its answers`, async () => (await missing()).length === 0, FOR_ALL_MS).catch(async (e: unknown) => {
      throw new Error(`${(e as Error).message}: ${(await missing()).join(' ')} is missing`);
    });
    const said = (await this.answers()).join('\n');
    expect(this.words.filter((word) => said.split(word).length !== 2)).toEqual([]);
  }
}

/** What must hold of the files when everything was answered. */
function expectWhole(scene: SlackHouse): void {
  const { files } = scene.house;
  expect(files.integrity()).toBe('ok');
  for (const session of files.sessions()) {
    expect(files.messages(session).filter(({ status }) => status !== 'done')).toEqual([]);
    expect(files.ledger(session).filter(({ state }) => state !== 'delivered')).toEqual([]);
    const steps = files
      .history(session)
      .filter(({ role }) => role === 'assistant')
      .map(({ turn_id, step }) => `${turn_id}/${step}`);
    expect(new Set(steps).size).toBe(steps.length);
    const blocks = files.history(session).flatMap(({ content }) => JSON.parse(content) as { type: string }[]);
    const count = (type: string): number => blocks.filter((block) => block.type === type).length;
    expect(count('tool_result')).toBe(count('tool_use'));
  }
}

/** What is said before a tool's line is not sent: those with tools send their word by one. */
const SCRIPTS = [
  'say WORD',
  'sleep 20ms\nsay WORD',
  'tool exec {"command":"echo x >> log"}\ntool send_message {"text":"WORD"}',
  'tool write_file {"path":"a","content":"b"}\ntool read_file {"path":"a"}\ntool send_message {"text":"WORD"}',
];

verifies(
  'turn/step-commit',
  'killed at each named point under a stream of messages: every message is answered once, on Slack and on the page, and no step is done twice',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    const random = seeded(1);
    await house.stop();
    const talks = [new Talk(scene, 'slack'), new Talk(scene, 'web', house.chat())];
    const speaking: Promise<void>[] = [];
    for (const [n, point] of POINTS.entries()) {
      await house.start([...QUICK, '--crash-at', point]).catch(() => undefined); // what waits may reach the point at once
      if (house.alive) await scene.connected().catch(() => undefined);
      const speakers = talks.slice(0, 2);
      if (FIRST_WAKE.has(point)) {
        const fresh = new Talk(scene, `fresh${n}`, house.chat());
        talks.push(fresh);
        speakers.push(fresh);
      }
      for (const talk of speakers) speaking.push(talk.say(SCRIPTS[Math.floor(random() * SCRIPTS.length)] ?? 'say WORD'));
      const late = new Promise((resolve) => setTimeout(() => resolve(`${point} was not reached`), 120_000).unref());
      expect(await Promise.race([house.ended(), late])).toBe('SIGKILL');
    }
    await scene.begin(QUICK);
    await Promise.all(speaking);
    await Promise.all(talks.map((talk) => talk.whole()));
    await until('everything is settled', () =>
      house.files
        .sessions()
        .every(
          (session) =>
            house.files.messages(session).every(({ status }) => status === 'done') &&
            house.files.ledger(session).every(({ state }) => state === 'delivered'),
        ),
    );
    expectWhole(scene);
  },
  2 * FOR_ALL_MS,
);

verifies(
  'turn/step-commit',
  'runners and the process itself killed at random moments: every message is answered once',
  async () => {
    const scene = stage.it;
    const { house } = scene;
    const random = seeded(7);
    const talks = Array.from({ length: 4 }, (_, n) => new Talk(scene, `random${n}`, house.chat()));
    const pause = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50 + random() * 400));
    const killed = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      const speaking = talks.map(async (talk) => {
        for (let n = 0; n < 3; n += 1) await talk.say(SCRIPTS[Math.floor(random() * SCRIPTS.length)] ?? 'say WORD');
      });
      await pause();
      for (const [session, pid] of house.runners()) {
        // Once each: a message that is there at several deaths waits for seconds, then minutes, as it should.
        if (killed.has(session) || random() < 0.3) continue;
        killed.add(session);
        kill(pid, 'SIGKILL');
        await pause();
      }
      await pause();
      await house.stop('SIGKILL');
      await scene.begin(QUICK);
      await Promise.all(speaking);
    }
    await Promise.all(talks.map((talk) => talk.whole()));
    await until('everything is settled', () =>
      house.files
        .sessions()
        .every(
          (session) =>
            house.files.messages(session).every(({ status }) => status === 'done') &&
            house.files.ledger(session).every(({ state }) => state === 'delivered'),
        ),
    );
    expectWhole(scene);
  },
  2 * FOR_ALL_MS,
);
