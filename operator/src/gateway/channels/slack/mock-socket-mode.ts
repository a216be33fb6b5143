/** Test only: the other end of Slack's Socket Mode, which no emulator has. A mock: by docs.slack.dev, "Using Socket Mode". */
import { randomUUID } from 'node:crypto';
import { type WebSocket, WebSocketServer } from 'ws';

export interface MockSocketMode {
  readonly url: string;
  /** How many connections are open now. */
  connections(): number;
  /** Sends an event to one connection; answers with its envelope id. */
  send(event: object, eventId: string): string;
  /** The same for what is no event, such as a pressed button. */
  sendInteractive(payload: object): string;
  readonly acknowledged: Set<string>;
  /** As Slack does every few hours. */
  refresh(): void;
  close(): Promise<void>;
}

export async function startMockSocketMode(): Promise<MockSocketMode> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await new Promise<void>((resolve) => server.on('listening', resolve));
  const open = new Set<WebSocket>();
  const acknowledged = new Set<string>();
  server.on('connection', (socket: WebSocket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('message', (data: Buffer) => acknowledged.add((JSON.parse(data.toString()) as { envelope_id: string }).envelope_id));
    socket.send(JSON.stringify({ type: 'hello', num_connections: open.size }));
  });
  const address = server.address();
  return {
    url: `ws://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`,
    connections: () => open.size,
    send: (event, eventId) => {
      const [socket] = open;
      const envelopeId = randomUUID();
      const payload = { type: 'event_callback', event_id: eventId, team_id: 'T1', event };
      socket?.send(JSON.stringify({ type: 'events_api', envelope_id: envelopeId, accepts_response_payload: false, payload }));
      return envelopeId;
    },
    sendInteractive: (payload) => {
      const envelopeId = randomUUID();
      for (const socket of [...open].slice(0, 1))
        socket.send(JSON.stringify({ type: 'interactive', envelope_id: envelopeId, accepts_response_payload: false, payload }));
      return envelopeId;
    },
    acknowledged,
    refresh: () => {
      for (const socket of open) socket.send(JSON.stringify({ type: 'disconnect', reason: 'refresh_requested' }));
    },
    close: async () => {
      for (const socket of open) socket.terminate();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
