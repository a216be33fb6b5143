import { Reason, type Session } from '@dovecote/crds';
import { Annotation } from '../labels.ts';

/** What delivery says of the cell. */
export interface StorageReport {
  readonly ok: boolean;
  readonly reason: string;
  readonly message: string;
}

const TROUBLES: ReadonlySet<string> = new Set([Reason.QuotaExceeded, Reason.VolumeFull, Reason.OutboundRefused, Reason.CellMissing]);

/** From the annotation that delivery writes. undefined: it has said nothing yet, or something that is not of this form. */
export function storageReport(session: Session): StorageReport | undefined {
  const text = session.metadata.annotations?.[Annotation.storage];
  if (text === undefined) return undefined;
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return undefined; // people can write annotations too: nothing of ours may stop because of one
  }
  if (typeof said !== 'object' || said === null || !('reason' in said)) return undefined;
  const reason = String(said.reason);
  const message = 'message' in said && typeof said.message === 'string' ? said.message.slice(0, 2_000) : '';
  if (reason === Reason.Writable) return { ok: true, reason, message };
  return TROUBLES.has(reason) ? { ok: false, reason, message } : undefined;
}
