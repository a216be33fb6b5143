import type { Database } from 'better-sqlite3';
import { prepared } from '../cells/statements.ts';
import type { SessionFacts } from './index-db.ts';

/**
 * What inbound.db says about a session's work: messages that wait for a turn, and when the first of them is due. Silent context
 * (trigger 0) waits for nobody.
 */
export function factsOf(inbound: Database): SessionFacts {
  return prepared(
    inbound,
    `SELECT (SELECT count(*) FROM messages_in WHERE status = 'pending' AND trigger = 1) AS pending,
            (SELECT min(max(not_before, next_try_at)) FROM messages_in WHERE status = 'pending' AND trigger = 1) AS next_due,
            max((SELECT created_at FROM meta), coalesce((SELECT created_at FROM messages_in ORDER BY seq DESC LIMIT 1), 0),
                coalesce((SELECT created_at FROM delivered ORDER BY seq DESC LIMIT 1), 0)) AS last_activity`,
  ).get() as SessionFacts;
}
