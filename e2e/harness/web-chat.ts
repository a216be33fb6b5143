/** The web chat as its page uses it: one API, whether a laptop or a cluster serves it. */
import { randomUUID } from 'node:crypto';
import { serverSentEvents } from '../../operator/src/cli/api-client.ts';
import { until } from './until.ts';

/** A machine that is busy with other tests. */
const PATIENCE_MS = 240_000;

/** Who serves it. */
export interface House {
  /** A request with the credentials of the person who chats. */
  request(path: string, init?: RequestInit): Promise<Response>;
  /** Aborts when the test is over. */
  readonly disposed: AbortSignal;
  /** What its log says that may explain a missing answer. */
  complaints(): readonly string[];
}

/** A row of the conversation as the page gets it. */
export interface Row {
  readonly session: string;
  readonly seq: number;
  readonly direction: 'in' | 'out';
  readonly kind: string;
  readonly state: string;
  readonly content: string;
  readonly eventId: string;
  readonly senderName: string;
  readonly platformMessageId: string;
}

export const textOf = (row: Row): string => (JSON.parse(row.content) as { text?: string }).text ?? '';

/** What became of a press on a button. */
export interface Pressed {
  readonly outcome: 'stored' | 'already-answered' | 'refused';
  readonly label: string;
  readonly refused: readonly string[];
}

/** One chat of a Channel of type local, by the page's own API. */
export class WebChat {
  readonly chat: string;
  readonly #house: House;
  readonly #path: string;
  readonly #rows = new Map<string, Row>();
  /** What the page showed while the agent worked, in order: Thinking, Tool exec, … */
  readonly activities: string[] = [];
  /** The texts that grew before they became answers, in order; empty where one vanished. */
  readonly partials: string[] = [];
  #following = false;

  constructor(house: House, channel: string, chat: string) {
    this.chat = chat;
    this.#house = house;
    this.#path = `/api/channels/${encodeURIComponent(channel)}/chats/${encodeURIComponent(chat)}`;
  }

  /** The session that answers here, as soon as there is one. */
  session(): Promise<string> {
    return until(`chat ${this.chat} has a session`, () => this.rows()[0]?.session, PATIENCE_MS);
  }

  /** Answers with the event id. Throws when the server did not take it. */
  async send(text: string, id: string = randomUUID()): Promise<{ eventId: string; refused: string[] }> {
    const response = await this.#house.request(`${this.#path}/messages`, { method: 'POST', body: JSON.stringify({ id, text }) });
    const body = (await response.json()) as { eventId: string; refused: string[]; message?: string };
    if (!response.ok) throw new Error(`the message was not taken: ${response.status} ${body.message ?? ''}`);
    return body;
  }

  /** Sends until the server takes it, as the page does: the same id makes that one message. */
  async insist(text: string, id: string = randomUUID(), timeoutMs = PATIENCE_MS): Promise<void> {
    await until(
      `"${text}" is taken`,
      async () => {
        try {
          await this.send(text, id);
          return true;
        } catch {
          return undefined;
        }
      },
      timeoutMs,
    );
  }

  /** Presses a button of a question. Throws when the server does not take it. */
  async press(button: { readonly session: string; readonly seq: number; readonly option: number; readonly id?: string }): Promise<Pressed> {
    const response = await this.#house.request(`${this.#path}/answers`, {
      method: 'POST',
      body: JSON.stringify({ id: randomUUID(), ...button }),
    });
    if (!response.ok) throw new Error(`the answer was not taken: ${response.status} ${await response.text()}`);
    return (await response.json()) as Pressed;
  }

  /** The conversation's rows as the page has seen them up to now, by seq. */
  rows(): Row[] {
    if (!this.#following) {
      this.#following = true;
      void this.#follow();
    }
    return [...this.#rows.values()].sort((a, b) => a.seq - b.seq);
  }

  /** The delivered answers, in order. */
  answers(): string[] {
    return this.rows()
      .filter((row) => row.direction === 'out' && row.state === 'delivered')
      .map(textOf);
  }

  /** Waits until a delivered answer matches. */
  async answer(matching: RegExp | string, timeoutMs = PATIENCE_MS): Promise<string> {
    return until(
      `an answer matches ${matching}`,
      () => this.answers().find((text) => (typeof matching === 'string' ? text.includes(matching) : matching.test(text))),
      timeoutMs,
    ).catch((e: unknown) => {
      throw new Error(
        `${(e as Error).message}; there are ${JSON.stringify(this.answers())}\n${this.#house.complaints().slice(-10).join('\n')}`,
      );
    });
  }

  /** Sends and waits. */
  async ask(text: string, matching: RegExp | string): Promise<string> {
    await this.send(text);
    return this.answer(matching);
  }

  /** As the page does: one stream, from behind the last event when it breaks. */
  async #follow(): Promise<void> {
    let after = '';
    while (!this.#house.disposed.aborted) {
      try {
        const response = await this.#house.request(`${this.#path}/events?after=${encodeURIComponent(after)}`, {
          signal: this.#house.disposed,
        });
        for await (const { id, event, data } of serverSentEvents(response)) {
          if (id !== '') after = id;
          if (event === 'activity') {
            const { state, detail } = JSON.parse(data) as { state: string; detail: string };
            this.activities.push(`${state} ${detail}`.trim());
          } else if (event === 'partial') {
            this.partials.push((JSON.parse(data) as { text: string }).text);
          } else {
            const row = JSON.parse(data) as Row;
            this.#rows.set(`${row.session}/${row.seq}`, row);
          }
        }
      } catch {
        // not up at this moment
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
