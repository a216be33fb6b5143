import { JailError, type PathJail } from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Room } from '../pressure/quota.ts';

export type RoomOf = (session: string, place: 'cell' | 'home', signal: AbortSignal) => Promise<Room | undefined>;

/** The requests of the calls that store something. */
interface Storing {
  readonly path?: string;
  readonly to?: string;
  readonly part?: { readonly $case: string; readonly value: unknown };
}

/**
 * Counts what one call brings against what its agent may store: an awake session is stopped when it stores too much, one that sleeps is
 * kept from it.
 */
export class StorageAccount {
  readonly #deps: { readonly jail: PathJail; readonly session: string; readonly room: RoomOf; readonly signal: AbortSignal };
  #room: Promise<Room | undefined> | undefined;
  #came = 0;

  constructor(deps: { readonly jail: PathJail; readonly session: string; readonly room: RoomOf; readonly signal: AbortSignal }) {
    this.#deps = deps;
  }

  /** The call's next request, and its size in bytes. Rejects with StatusError RESOURCE_EXHAUSTED. */
  async add(request: unknown, bytes: number): Promise<void> {
    this.#room ??= this.#begin(targetOf(request as Storing));
    this.#came += bytes;
    const room = await this.#room;
    if (room !== undefined && this.#came > room.left) throw new StatusError(status.RESOURCE_EXHAUSTED, room.sentence(this.#came));
  }

  async #begin(path: string): Promise<Room | undefined> {
    const { jail, session, room, signal } = this.#deps;
    const found = await room(session, path === '/agent' || path.startsWith('/agent/') ? 'home' : 'cell', signal);
    return found && { ...found, left: found.left + replacedBytes(jail, path) };
  }
}

function targetOf({ path, to, part }: Storing): string {
  return path ?? to ?? (part?.$case === 'info' ? (part.value as { readonly path: string }).path : '');
}

/** Of a file that is there, and makes room for the one that comes. */
function replacedBytes(jail: PathJail, path: string): number {
  try {
    return jail.stat(path).blocks * 512;
  } catch (e) {
    if (e instanceof JailError) return 0; // there is none, or the call itself says what is wrong
    throw e;
  }
}
