import type { DeliveredRow, platform } from '@dovecote/proto';
import type { FileContent } from './content.ts';

/** A row that was committed as sending. */
export interface Claim {
  readonly session: string;
  readonly lane: string;
  /** `settle`: it may have been sent before, which is asked first */
  readonly mode: 'send' | 'settle';
  readonly row: DeliveredRow;
  readonly noun: string | undefined;
  readonly request: platform.DeliverRequest;
  /** the turn whose preview it takes the place of */
  readonly preview: string | undefined;
  /** to be streamed behind the request */
  readonly file: FileContent | undefined;
  /** its age counts from here */
  readonly dueSince: number;
  /** until then a call of an earlier sender may still take effect */
  readonly inFlightUntil: number;
}
