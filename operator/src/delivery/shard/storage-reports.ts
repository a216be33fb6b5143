/** What is wrong with a session's cell: told to the cluster as an annotation, and asked before the session is woken. */
import type { Session } from '@dovecote/crds';
import type { ResourceStore } from '../../kube/store.ts';
import type { Background } from '../background.ts';
import { STORAGE_ANNOTATION, writeStorage } from '../session-object.ts';

export type StorageReason = 'Writable' | 'QuotaExceeded' | 'VolumeFull' | 'OutboundRefused' | 'CellMissing';

export interface StorageReport {
  readonly reason: StorageReason;
  /** for people */
  readonly message: string;
}

const FINE: StorageReport = { reason: 'Writable', message: '' };
/** With these a wake would only do more harm, or find nothing. */
const HELD: ReadonlySet<string> = new Set<StorageReason>(['QuotaExceeded', 'VolumeFull', 'CellMissing']);

export interface StorageReportsDeps {
  readonly store: ResourceStore;
  readonly sessions: { get(name: string): Session | undefined };
  readonly background: Background;
}

export class StorageReports {
  readonly #deps: StorageReportsDeps;
  /** Written by us and perhaps not yet in the cache. */
  readonly #latest = new Map<string, StorageReport>();

  constructor(deps: StorageReportsDeps) {
    this.#deps = deps;
  }

  current(session: string): StorageReport {
    return this.#latest.get(session) ?? parseReport(this.#deps.sessions.get(session)) ?? FINE;
  }

  /** The report that keeps the session asleep. */
  held(session: string): StorageReport | undefined {
    const report = this.current(session);
    return HELD.has(report.reason) ? report : undefined;
  }

  /** One API write, and none when it was said before. True: it is news. */
  report(session: string, report: StorageReport): boolean {
    const before = this.current(session);
    if (before.reason === report.reason) return false;
    this.#latest.set(session, report);
    this.#deps.background.run('storage-report', session, async (signal) => {
      try {
        await writeStorage(this.#deps.store, session, report, signal);
      } catch (e) {
        this.#latest.set(session, before); // so that the next look says it again
        throw e;
      }
    });
    return true;
  }

  /** Only a trouble of this kind ends; another one stays. */
  clear(session: string, ...reasons: readonly StorageReason[]): void {
    if (reasons.includes(this.current(session).reason)) this.report(session, FINE);
  }

  /** The object changed or is gone: from now on the cache is right. */
  forget(session: string): void {
    this.#latest.delete(session);
  }
}

function parseReport(session: Session | undefined): StorageReport | undefined {
  const text = session?.metadata.annotations?.[STORAGE_ANNOTATION];
  if (text === undefined) return undefined;
  try {
    const { reason, message } = JSON.parse(text) as Partial<StorageReport>;
    return reason === undefined ? undefined : { reason, message: message ?? '' };
  } catch {
    return undefined; // people can write annotations too
  }
}
