import { join } from 'node:path';
import {
  agentHomeSubPath,
  FILE_CALLS,
  type FileCallName,
  type FileMethod,
  PathJail,
  type TwoWays,
  WRITING_FILE_CALLS,
} from '@dovecote/proto';
import { StatusError, status } from '../../lib/grpc.ts';
import type { Cells } from '../cells/cells.ts';
import { type RoomOf, StorageAccount } from './storage-account.ts';

/** How the messages of a method are read and written. */
export interface Codec {
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (message: never) => Buffer;
}

/**
 * One file call on the volume itself, for a session that has no runner at this moment, under the jail that its runner would apply, by the
 * names that its Pod would know. It may wake meanwhile: what is written is put in place in one step, so its runner sees the old or the new.
 * Throws JailError and what `fileStatus` knows; StatusError when the volume is full, or its agent may store no more.
 */
export async function fileCallOnVolume(
  name: FileCallName,
  ways: TwoWays<Buffer, Buffer>,
  {
    session,
    cells,
    full,
    room,
    codec,
  }: {
    readonly session: string;
    readonly cells: Cells;
    readonly full: boolean;
    readonly room: RoomOf;
    readonly codec: Codec;
  },
): Promise<void> {
  const stores = WRITING_FILE_CALLS.has(name) && name !== 'deleteFile';
  if (full && stores) throw new StatusError(status.RESOURCE_EXHAUSTED, 'the volume is full');
  const { paths, meta } = cells.open(session);
  const jail = new PathJail([
    { alias: '/workspace', dir: paths.workspace, writable: true },
    { alias: '/agent', dir: join(cells.root, agentHomeSubPath(meta.agent_group_uid)), writable: true },
  ]);
  const account = stores ? new StorageAccount({ jail, session, room, signal: ways.gone }) : undefined;
  const method = FILE_CALLS[name] as FileMethod<unknown, never>;
  await method(jail, {
    requests: {
      next: async () => {
        const { done, value } = await ways.requests.next();
        if (done === true) return { done, value: undefined };
        const request = codec.requestDeserialize(value);
        await account?.add(request, value.length);
        return { done: false, value: request };
      },
    },
    send: (response) => ways.send(codec.responseSerialize(response)),
  });
}
