/**
 * Hop 8: delivery asks, the platform is called. Stateless: what was sent is written in delivery's ledger, from what is answered here.
 * Each call has its own deadline, so that a platform that hangs holds up nobody else.
 */

import { byteCount, type Channel } from '@dovecote/crds';
import { platform } from '@dovecote/proto';
import { type ServerReadableStream, status } from '@grpc/grpc-js';
import type { Clock } from '../../lib/clock.ts';
import type { Reached } from '../../lib/crash-point.ts';
import { abandonAfter, DeadlineError } from '../../lib/deadline.ts';
import { toError } from '../../lib/errors.ts';
import { handleUnary, StatusError, toStatus } from '../../lib/grpc.ts';
import type { Log } from '../../lib/log.ts';
import {
  type ConnectedChannel,
  type Outcome,
  type Outgoing,
  RefusedReason,
  RetryReason,
  type SettleableOutgoing,
  type Settlement,
} from '../channels/channel.ts';
import type { GatewayMetrics } from '../metrics.ts';
import { type Content, ContentError, parseContent } from './content.ts';
import { pieceOf } from './piece.ts';
import { preview } from './preview.ts';

export interface PlatformLimits {
  /** One platform call. */
  readonly callMs: number;
  /** A file gets a second more for each so many bytes. */
  readonly bytesPerSecond: number;
}

export const PLATFORM_LIMITS: PlatformLimits = { callMs: 20_000, bytesPerSecond: 256 * 1024 };

export interface PlatformTarget {
  readonly channel: Channel;
  /** undefined: it has not connected yet. */
  readonly connected: ConnectedChannel | undefined;
}

export interface PlatformDeps {
  readonly find: (channel: string) => PlatformTarget | undefined;
  readonly limits: PlatformLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: GatewayMetrics;
  readonly reached: Reached;
}

interface FileBytes {
  readonly sizeBytes: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

interface ReadyTarget {
  readonly channel: Channel;
  readonly connected: ConnectedChannel;
}

const KIND_NAMES = ['unspecified', 'chat', 'file', 'edit', 'reaction', 'card', 'question'];

export class PlatformService {
  readonly #deps: PlatformDeps;
  /** A retry that comes while the first call still runs must not make a second message: it waits for the first one's outcome. */
  readonly #inFlight = new Map<string, Promise<platform.DeliverResponse>>();

  constructor(deps: PlatformDeps) {
    this.#deps = deps;
  }

  /** As gRPC serves it. */
  handlers(): platform.PlatformServer {
    const onInternal = (err: Error): void => this.#deps.log.error({ err }, 'call to the platform service failed');
    return {
      deliver: handleUnary((request) => this.deliver(request), onInternal),
      deliverFile: (call, callback) => {
        this.#receiveFile(call).then(
          (response) => callback(null, response),
          (thrown: unknown) => callback(toStatus(thrown, onInternal)),
        );
      },
      settle: handleUnary((request) => this.settle(request), onInternal),
      typing: handleUnary((request) => this.typing(request), onInternal),
      preview: handleUnary((request) => preview(this.#deps, request), onInternal),
    };
  }

  /** Throws StatusError INVALID_ARGUMENT for a request that names nothing that can be sent. `file` goes with kind FILE, part 0. */
  deliver(request: platform.DeliverRequest, file?: FileBytes): Promise<platform.DeliverResponse> {
    if (request.idempotencyKey === '') return Promise.reject(new StatusError(status.INVALID_ARGUMENT, 'idempotency_key is missing'));
    const running = this.#inFlight.get(request.idempotencyKey);
    if (running !== undefined) return running;
    const call = this.#deliver(request, file).finally(() => this.#inFlight.delete(request.idempotencyKey));
    this.#inFlight.set(request.idempotencyKey, call);
    return call;
  }

  async settle({ request, firstAttemptAtMs }: platform.SettleRequest): Promise<platform.SettleResponse> {
    if (request === undefined) throw new StatusError(status.INVALID_ARGUMENT, 'request is missing');
    const verdict = (verdict: platform.SettleResponse_Verdict, rest: Partial<platform.SettleResponse> = {}): platform.SettleResponse => ({
      verdict,
      platformMessageId: '',
      more: false,
      policy: '',
      ...rest,
    });
    // It is on its way this very moment: what comes of it is the answer.
    const running = this.#inFlight.get(request.idempotencyKey);
    if (running !== undefined) return verdict(...verdictOf(await running));
    const target = this.#find(request.channel);
    if (target === undefined) return verdict(platform.SettleResponse_Verdict.TRY_LATER);
    const { connected, channel } = target;
    const content = contentOf(request);
    const piece =
      content instanceof ContentError
        ? undefined
        : pieceOf(content, request.part, request.targetMessageId, connected.dialect, request.idempotencyKey);
    // What cannot be sent has not been sent; the next Deliver says why.
    if (piece === undefined || piece.type === 'none') return verdict(platform.SettleResponse_Verdict.NOT_SENT);
    const outgoing = piece.type === 'file' ? { ...piece.file, sizeBytes: 0 } : piece.outgoing;
    const {
      clock,
      limits: { callMs },
    } = this.#deps;
    const settle = (outgoing: SettleableOutgoing): Promise<Settlement> =>
      abandonAfter({ ms: callMs, what: 'settle the delivery', clock, signal: undefined }, (signal) =>
        connected.settle({ delivery: { ...addressOf(request), outgoing }, firstAttemptAtMs }, signal),
      );
    let settlement: Settlement;
    try {
      settlement = await settle(outgoing);
      if (settlement.type === 'not-sent' && takesPreview(request, outgoing)) {
        // The preview was gone, and the message sent anew? Where nobody can know, the edit is tried again, which does no harm.
        const anew = await settle({ kind: 'text', text: outgoing.text });
        if (anew.type !== 'unknowable') settlement = anew;
      }
    } catch (thrown) {
      this.#deps.log.warn(
        { channel: request.channel, key: request.idempotencyKey, err: toError(thrown) },
        'delivery could not be settled, it is asked again',
      );
      return verdict(platform.SettleResponse_Verdict.TRY_LATER);
    }
    switch (settlement.type) {
      case 'sent':
        return verdict(platform.SettleResponse_Verdict.SENT, { platformMessageId: settlement.platformMessageId, more: piece.more });
      case 'not-sent':
        return verdict(platform.SettleResponse_Verdict.NOT_SENT);
      case 'unknowable':
        return verdict(platform.SettleResponse_Verdict.UNKNOWABLE, { policy: channel.spec.inDoubt });
      case 'try-later':
        return verdict(platform.SettleResponse_Verdict.TRY_LATER);
    }
  }

  async typing({ channel, chat, thread }: platform.TypingRequest): Promise<platform.TypingResponse> {
    const {
      clock,
      limits: { callMs },
    } = this.#deps;
    const target = this.#find(channel);
    if (target?.connected.info.supports.typing === true) {
      try {
        await abandonAfter({ ms: callMs, what: 'show that the agent types', clock, signal: undefined }, (signal) =>
          target.connected.typing(chat, thread, signal),
        );
      } catch (thrown) {
        // Nobody waits for it, and the next one comes in seconds.
        this.#deps.log.debug({ channel, err: toError(thrown) }, 'typing was not shown');
      }
    }
    return {};
  }

  /** Resolves when no call is in hand. */
  async idle(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight.values());
  }

  async #deliver(request: platform.DeliverRequest, file: FileBytes | undefined): Promise<platform.DeliverResponse> {
    const { channel: name, part } = request;
    const target = this.#find(name);
    if (target === undefined) return this.#answer(request, noAdapter(name));
    const { connected, channel } = target;
    const content = contentOf(request);
    if (content instanceof ContentError) return this.#answer(request, refused(RefusedReason.Invalid, content.message));
    const piece = pieceOf(content, part, request.targetMessageId, connected.dialect, request.idempotencyKey);
    const unsupported = unsupportedBy(connected, content);
    if (unsupported !== undefined) return this.#answer(request, refused(RefusedReason.Unsupported, unsupported));
    if (piece.type === 'none') {
      if (part === 0) return this.#answer(request, refused(RefusedReason.Invalid, 'cannot send the message: its text is blank'));
      // Another version of this program split the text into more pieces; every piece of ours went out before this one.
      this.#deps.log.warn({ key: request.idempotencyKey, part }, 'piece that does not exist was asked for, it counts as delivered');
      return this.#answer(request, { type: 'delivered', platformMessageId: '' });
    }
    let outgoing: Outgoing;
    if (piece.type === 'send') outgoing = piece.outgoing;
    else if (file === undefined) throw new StatusError(status.INVALID_ARGUMENT, 'a file is sent with DeliverFile');
    else {
      const limit = byteCount(channel.spec.maxAttachmentBytes);
      if (file.sizeBytes > limit) {
        const sentence = `cannot send "${piece.file.name}": it has ${file.sizeBytes} bytes, and the limit of channel ${name} is ${limit}`;
        return this.#answer(request, refused(RefusedReason.TooLarge, sentence));
      }
      outgoing = { ...piece.file, ...file };
    }
    let outcome = await this.#call(request, connected, outgoing);
    // Somebody removed the preview, or the platform lets nobody change it any more: the answer is a message of its own then.
    if (outcome.type === 'refused' && takesPreview(request, outgoing))
      outcome = await this.#call(request, connected, { kind: 'text', text: outgoing.text });
    return this.#answer(request, outcome, piece.more);
  }

  async #call(request: platform.DeliverRequest, connected: ConnectedChannel, outgoing: Outgoing): Promise<Outcome> {
    const { callMs, bytesPerSecond } = this.#deps.limits;
    const ms = outgoing.kind === 'file' ? callMs + Math.ceil(outgoing.sizeBytes / bytesPerSecond) * 1000 : callMs;
    const stop = this.#deps.metrics.platformSeconds.startTimer({ channel: request.channel });
    this.#deps.reached('gateway/before-platform-call');
    try {
      return await abandonAfter({ ms, what: 'call the platform', clock: this.#deps.clock, signal: undefined }, (signal) =>
        connected.deliver({ ...addressOf(request), outgoing }, signal),
      );
    } catch (thrown) {
      if (thrown instanceof DeadlineError)
        return { type: 'retry', reason: RetryReason.NoAnswer, message: thrown.message, afterMs: 0, maybeSent: true };
      this.#deps.log.error(
        { channel: request.channel, key: request.idempotencyKey, err: toError(thrown) },
        'channel failed in an unforeseen way',
      );
      // We cannot know how far it came: to say "not sent" could send it twice.
      return {
        type: 'retry',
        reason: RetryReason.Internal,
        message: 'the channel failed; the gateway logged it',
        afterMs: 0,
        maybeSent: true,
      };
    } finally {
      stop();
      this.#deps.reached('gateway/after-platform-call');
    }
  }

  #find(name: string): ReadyTarget | undefined {
    const target = this.#deps.find(name);
    return target?.connected === undefined ? undefined : { channel: target.channel, connected: target.connected };
  }

  #answer(request: platform.DeliverRequest, outcome: Outcome, more = false): platform.DeliverResponse {
    const channel = this.#deps.find(request.channel) === undefined ? '' : request.channel;
    const label = outcome.type === 'delivered' ? 'delivered' : outcome.reason;
    this.#deps.metrics.platformCalls.inc({ channel, kind: KIND_NAMES[request.kind] ?? 'unknown', outcome: label });
    switch (outcome.type) {
      case 'delivered':
        return { outcome: { $case: 'delivered', value: { platformMessageId: outcome.platformMessageId, more } } };
      case 'retry': {
        const { reason, message, afterMs, maybeSent } = outcome;
        return { outcome: { $case: 'retry', value: { reason, message, afterMs, maybeSent } } };
      }
      case 'refused':
        return { outcome: { $case: 'refused', value: { reason: outcome.reason, message: outcome.message } } };
    }
  }

  async #receiveFile(call: ServerReadableStream<platform.DeliverFileRequest, platform.DeliverResponse>): Promise<platform.DeliverResponse> {
    const messages = (call as AsyncIterable<platform.DeliverFileRequest>)[Symbol.asyncIterator]();
    const first = await messages.next();
    const info = first.done === true || first.value.part?.$case !== 'info' ? undefined : first.value.part.value;
    if (info?.request === undefined)
      throw new StatusError(status.INVALID_ARGUMENT, 'the first message of DeliverFile must be info, with a request');
    return this.deliver(info.request, { sizeBytes: info.sizeBytes, bytes: chunks(messages, info.sizeBytes) });
  }
}

/** What an outcome says to whoever asks whether it was sent. */
function verdictOf({ outcome }: platform.DeliverResponse): [platform.SettleResponse_Verdict, Partial<platform.SettleResponse>] {
  if (outcome?.$case === 'delivered') return [platform.SettleResponse_Verdict.SENT, outcome.value];
  const maybe = outcome?.$case === 'retry' && outcome.value.maybeSent;
  return [maybe ? platform.SettleResponse_Verdict.TRY_LATER : platform.SettleResponse_Verdict.NOT_SENT, {}];
}

/** Rejects when fewer or more bytes come than were announced: a caller that cancels ends its stream first, and half a file would look whole. */
async function* chunks(messages: AsyncIterator<platform.DeliverFileRequest>, sizeBytes: number): AsyncIterable<Uint8Array> {
  let left = sizeBytes;
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    if (next.value.part?.$case !== 'chunk') continue;
    left -= next.value.part.value.length;
    if (left < 0) break;
    yield next.value.part.value;
  }
  if (left !== 0) throw new Error(`cannot send the file: it is not the ${sizeBytes} bytes that were announced`);
}

function contentOf(request: platform.DeliverRequest): Content | ContentError {
  try {
    return parseContent(request.kind, request.content);
  } catch (thrown) {
    if (thrown instanceof ContentError) return thrown;
    throw thrown;
  }
}

function addressOf(request: platform.DeliverRequest): {
  readonly chat: string;
  readonly thread: string;
  readonly replyTo: string;
  readonly idempotencyKey: string;
} {
  const { chat, thread, replyToMessageId: replyTo, idempotencyKey } = request;
  return { chat, thread, replyTo, idempotencyKey };
}

/** A plain answer that is put in the place of the preview that people saw grow. */
function takesPreview<O extends { readonly kind: string }>(
  { kind }: platform.DeliverRequest,
  outgoing: O,
): outgoing is Extract<O, { kind: 'edit' }> {
  return kind === platform.OutboundKind.CHAT && outgoing.kind === 'edit';
}

/** Why it cannot be sent there, ever. */
function unsupportedBy({ info }: ConnectedChannel, { kind }: Content): string | undefined {
  if (kind === 'edit' && !info.supports.edits) return `messages cannot be edited on ${info.type}`;
  if (kind === 'reaction' && !info.supports.reactions) return `${info.type} has no reactions`;
  if (kind === 'file' && !info.supports.files) return `files cannot be sent on ${info.type}`;
  return undefined;
}

function noAdapter(name: string): Outcome {
  const message = `channel ${name} does not exist or has not connected yet`;
  return { type: 'retry', reason: RetryReason.NoAdapter, message, afterMs: 0, maybeSent: false };
}

function refused(reason: RefusedReason, message: string): Outcome {
  return { type: 'refused', reason, message };
}
