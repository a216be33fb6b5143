/** A gateway over real gRPC whose platform does what a test says, and remembers what it was asked to send. */

import { platform } from '@dovecote/proto';
import { Server, type ServerReadableStream } from '@grpc/grpc-js';
import { closeServer, handleUnary, listen, StatusError, status, toStatus } from '../../../lib/grpc.ts';

export interface Sent {
  readonly key: string;
  readonly channel: string;
  readonly chat: string;
  readonly thread: string;
  readonly kind: platform.OutboundKind;
  readonly content: unknown;
  readonly part: number;
  readonly target: string;
  readonly replyTo: string;
  readonly attempt: number;
  readonly id: string;
  readonly file?: Buffer;
}

/** What a call comes to. `silent`: the platform has it, and the answer never comes. */
export type Act =
  | { readonly type: 'deliver'; readonly more?: boolean }
  | { readonly type: 'retry'; readonly afterMs?: number; readonly maybeSent?: boolean; readonly sent?: boolean; readonly reason?: string }
  | { readonly type: 'refuse'; readonly reason: string; readonly message: string }
  | { readonly type: 'status'; readonly code: status }
  | { readonly type: 'hold'; readonly until: Promise<unknown> }
  | { readonly type: 'silent' };

export interface ScriptedPlatform {
  readonly address: string;
  /** What reached the platform, in order. */
  readonly sent: Sent[];
  /** Every call, also those that sent nothing. */
  readonly calls: platform.DeliverRequest[];
  readonly settles: platform.SettleRequest[];
  /** Decides each call; delivers when it answers nothing. */
  act: (request: platform.DeliverRequest) => Act | undefined;
  /** Decides each question; truthful when it answers nothing. */
  settle: (request: platform.SettleRequest) => Partial<platform.SettleResponse> | undefined;
  /** Every call that shows an answer while it is written. */
  readonly previews: platform.PreviewRequest[];
  /** Decides each of them; Unsupported when absent, shown when it answers nothing. */
  preview?: (request: platform.PreviewRequest) => Promise<platform.PreviewResponse['outcome']> | platform.PreviewResponse['outcome'];
  readonly typings: platform.TypingRequest[];
  /** What people see in a chat: texts by the platform's id, changed and removed as the calls said. */
  readonly standing: Map<string, { readonly chat: string; readonly text: string; readonly key: string }>;
  texts(chat?: string): string[];
  close(): Promise<void>;
}

export async function startScriptedPlatform(address = '127.0.0.1:0'): Promise<ScriptedPlatform> {
  const server = new Server();
  const moreByKey = new Map<string, boolean>();
  const double: ScriptedPlatform = {
    address: '',
    sent: [],
    calls: [],
    settles: [],
    previews: [],
    typings: [],
    standing: new Map(),
    act: () => undefined,
    settle: () => undefined,
    texts: (chat) =>
      double.sent.filter((one) => chat === undefined || one.chat === chat).map((one) => String((one.content as { text?: string }).text)),
    close: () => closeServer(server, 0),
  };
  const send = (request: platform.DeliverRequest, more: boolean, file?: Buffer): platform.DeliverResponse => {
    const replaces = request.kind === platform.OutboundKind.CHAT && double.standing.has(request.targetMessageId);
    const id = replaces ? request.targetMessageId : `p${double.sent.length + 1}`;
    double.standing.set(id, {
      chat: request.chat,
      text: String((JSON.parse(request.content) as { text?: unknown }).text),
      key: request.idempotencyKey,
    });
    double.sent.push({
      key: request.idempotencyKey,
      channel: request.channel,
      chat: request.chat,
      thread: request.thread,
      kind: request.kind,
      content: JSON.parse(request.content),
      part: request.part,
      target: request.targetMessageId,
      replyTo: request.replyToMessageId,
      attempt: request.attempt,
      id,
      ...(file !== undefined && { file }),
    });
    moreByKey.set(request.idempotencyKey, more);
    return { outcome: { $case: 'delivered', value: { platformMessageId: id, more } } };
  };
  const perform = async (request: platform.DeliverRequest, file?: Buffer): Promise<platform.DeliverResponse> => {
    double.calls.push(request);
    const act = double.act(request) ?? { type: 'deliver' };
    switch (act.type) {
      case 'deliver':
        return send(request, act.more ?? false, file);
      case 'hold':
        await act.until;
        return send(request, false, file);
      case 'silent':
        send(request, false, file);
        return new Promise(() => {});
      case 'retry': {
        if (act.sent === true) send(request, false, file);
        const { afterMs = 0, maybeSent = false, reason = 'Unavailable' } = act;
        return { outcome: { $case: 'retry', value: { reason, message: 'the platform said later', afterMs, maybeSent } } };
      }
      case 'refuse':
        return { outcome: { $case: 'refused', value: { reason: act.reason, message: act.message } } };
      case 'status':
        throw new StatusError(act.code, 'as the test said');
    }
  };
  const onInternal = (error: Error): never => {
    throw error;
  };
  const receive = async (
    call: ServerReadableStream<platform.DeliverFileRequest, platform.DeliverResponse>,
  ): Promise<platform.DeliverResponse> => {
    let info: platform.DeliverFileInfo | undefined;
    const chunks: Buffer[] = [];
    for await (const message of call as AsyncIterable<platform.DeliverFileRequest>) {
      if (message.part?.$case === 'info') info = message.part.value;
      if (message.part?.$case === 'chunk') chunks.push(message.part.value);
    }
    const bytes = Buffer.concat(chunks);
    if (info?.request === undefined || info.sizeBytes !== bytes.length)
      throw new StatusError(status.INVALID_ARGUMENT, 'the file is not whole');
    return perform(info.request, bytes);
  };
  server.addService(platform.PlatformClient.service, {
    deliver: handleUnary((request: platform.DeliverRequest) => perform(request), onInternal),
    deliverFile: (call, callback) => {
      receive(call).then(
        (response) => callback(null, response),
        (thrown: unknown) => callback(toStatus(thrown, () => {})),
      );
    },
    settle: handleUnary(async (request: platform.SettleRequest): Promise<platform.SettleResponse> => {
      double.settles.push(request);
      const key = request.request?.idempotencyKey ?? '';
      const standing = [...double.standing].find(([, one]) => one.key === key && key.endsWith('/preview'));
      const found = double.sent.find((one) => one.key === key) ?? (standing && { id: standing[0] });
      const truth: platform.SettleResponse = {
        verdict: found === undefined ? platform.SettleResponse_Verdict.NOT_SENT : platform.SettleResponse_Verdict.SENT,
        platformMessageId: found?.id ?? '',
        more: moreByKey.get(key) ?? false,
        policy: '',
      };
      return { ...truth, ...double.settle(request) };
    }, onInternal),
    typing: handleUnary(async (request: platform.TypingRequest) => {
      double.typings.push(request);
      return {};
    }, onInternal),
    preview: handleUnary(async (request: platform.PreviewRequest): Promise<platform.PreviewResponse> => {
      const failed = (reason: string): platform.PreviewResponse => ({
        outcome: { $case: 'failed', value: { reason, message: `${reason}, as the test said`, afterMs: 0, maybeSent: false } },
      });
      if (double.preview === undefined) return failed('Unsupported');
      double.previews.push(request);
      const { chat, text, idempotencyKey: key } = request;
      const outcome = await double.preview(request);
      if (outcome?.$case === 'failed' && !outcome.value.maybeSent) return { outcome };
      if (request.messageId !== '' && !double.standing.has(request.messageId)) return failed('Gone');
      const id = request.messageId === '' ? `v${double.previews.length}` : request.messageId;
      if (text === '') double.standing.delete(id);
      else double.standing.set(id, { chat, text, key });
      return { outcome: outcome ?? { $case: 'shown', value: { messageId: id, nextAfterMs: 1_200 } } };
    }, onInternal),
  } satisfies platform.PlatformServer);
  const bound = await listen(server, address);
  return Object.assign(double, { address: bound });
}
