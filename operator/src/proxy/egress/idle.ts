import type { Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';

/** Calls back when not a byte passed the socket, either way, for `ms` to twice that. Ends when the socket does. */
export function watchIdle(socket: Socket, ms: number, clock: Clock, onIdle: () => void): void {
  const closed = new AbortController();
  socket.once('close', () => closed.abort());
  const watch = async (): Promise<void> => {
    for (let before = -1; ; ) {
      const passed = socket.bytesRead + socket.bytesWritten;
      if (passed === before) break;
      before = passed;
      await clock.sleep(ms, closed.signal);
    }
    onIdle();
  };
  watch().catch(() => {}); // the socket ended first
}
