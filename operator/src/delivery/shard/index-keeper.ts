import type { DeliveredRow } from '@dovecote/proto';
import type { Cells } from '../cells/cells.ts';
import { prepared } from '../cells/statements.ts';
import { titleOf } from '../cells/title.ts';
import { parseLane } from '../outbox/address.ts';
import { factsOf } from './facts.ts';
import type { Feed } from './feed.ts';
import type { ShardIndex } from './index-db.ts';

export interface IndexKeeperDeps {
  readonly cells: Cells;
  readonly index: ShardIndex;
  readonly feed: Feed;
}

/** Keeps the index in step with the cells as they change, and tells who watches. The cells are the truth: what is missed here, the sweep finds. */
export class IndexKeeper {
  readonly #deps: IndexKeeperDeps;

  constructor(deps: IndexKeeperDeps) {
    this.#deps = deps;
  }

  /** Messages were appended to that session. */
  appended(session: string, messages: readonly { readonly channel: string | null; readonly chat: string | null }[]): void {
    const { cells, index, feed } = this.#deps;
    const { inbound } = cells.open(session);
    index.setFacts(session, factsOf(inbound));
    const title = titleOf(inbound);
    if (title !== null && index.get(session)?.title === null) index.setTitle(session, title);
    for (const { channel, chat } of messages) if (channel !== null && chat !== null) index.addChat(session, channel, chat);
    feed.changed(session);
  }

  /** Rows of its ledger changed. Answers with the lanes in which one of them has arrived. */
  sent(session: string, seqs: readonly number[]): readonly string[] {
    const { cells, index, feed } = this.#deps;
    const { inbound, meta } = cells.open(session);
    index.setFacts(session, factsOf(inbound));
    const arrived: string[] = [];
    for (const seq of seqs) {
      const row = prepared(inbound, 'SELECT lane, state FROM delivered WHERE seq = ?').get(seq) as
        | Pick<DeliveredRow, 'lane' | 'state'>
        | undefined;
      if (row?.state === 'delivered') arrived.push(row.lane);
      const lane = row?.lane ?? '';
      if (lane === '' || lane === meta.scope) continue;
      const { channel, chat } = parseLane(lane);
      if (channel !== '' && chat !== '') index.addChat(session, channel, chat);
    }
    feed.changed(session);
    return arrived;
  }

  titled(session: string, title: string): void {
    this.#deps.index.setTitle(session, title);
    this.#deps.feed.changed(session);
  }
}
