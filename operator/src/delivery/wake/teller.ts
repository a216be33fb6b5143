import { ConditionType, Reason, type Session } from '@dovecote/crds';
import type { Background } from '../background.ts';
import type { Cells } from '../cells/cells.ts';
import { whoWaits } from './who-waits.ts';

export interface TellerDeps {
  readonly cells: Cells;
  readonly background: Background;
  readonly notice: (session: string, notice: { id: string; channel: string; chat: string; thread?: string; text: string }) => Promise<void>;
}

/** Reasons of Ready=False for which no Pod is started until a person does something. */
const BLOCKED: ReadonlyMap<string, string> = new Map([
  [Reason.CredentialsMissing, 'this agent has no key for its model'],
  [Reason.RunnerRefused, 'the program of this agent refuses to start'],
  [Reason.RuntimeRefused, 'this agent is set up for a runtime that cannot be used'],
]);

/** Says to people why their message waits: once for each message and reason, also over restarts, since the notice's id names both. */
export class Teller {
  readonly #deps: TellerDeps;
  readonly #told = new Map<string, string>();

  constructor(deps: TellerDeps) {
    this.#deps = deps;
  }

  suspended(session: string): void {
    this.#tell(session, 'suspended', 'This conversation is suspended. Your message is kept and will be answered when it is resumed.');
  }

  held(session: string, { reason, message }: { readonly reason: string; readonly message: string }): void {
    this.#tell(session, `held-${reason}`, `Your message is kept, but cannot be answered now. ${message}`);
  }

  /** `ahead`: how many conversations get a place before this one. */
  queued(session: string, ahead: number): void {
    const place = ahead > 0 ? `${ahead} ${ahead === 1 ? 'conversation is' : 'conversations are'} ahead of yours` : 'yours is next';
    this.#tell(session, 'queued', `All places are taken at the moment; ${place}. Your message is kept and will be answered.`);
  }

  /** The controller says why it starts no Pod. Its own words are for those who run the agent. */
  blocked({ metadata: { name }, status }: Session): void {
    const ready = status?.conditions?.find(({ type }) => type === ConditionType.Ready);
    const what = ready?.status === 'False' ? BLOCKED.get(ready.reason) : undefined;
    if (what === undefined) return;
    this.#tell(
      name,
      `blocked-${ready?.reason}`,
      `Your message is kept, but cannot be answered now: ${what}. It will be answered when that is mended.`,
    );
  }

  /** It waits no more. */
  forget(session: string): void {
    this.#told.delete(session);
  }

  #tell(session: string, what: string, text: string): void {
    const { cells } = this.#deps;
    const whom = cells.has(session) ? whoWaits(cells.open(session)) : undefined;
    if (whom === undefined) return;
    const { seq, ...chat } = whom;
    const id = `${what}/${seq}`;
    if (this.#told.get(session) === id) return; // asked each second while it waits: not a look into the file each time
    this.#told.set(session, id);
    this.#deps.background.run('notice', session, () => this.#deps.notice(session, { id, ...chat, text }));
  }
}
