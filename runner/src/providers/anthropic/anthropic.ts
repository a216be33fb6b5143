/** The Messages API through the proxy, which puts the credential in: this process only has its Pod's own token. */
import { readFile } from 'node:fs/promises';
import Anthropic from '@anthropic-ai/sdk';
import type { AgentConfig, PathJail } from '@dovecote/proto';
import { patientFetch } from '../../http/patient-fetch.ts';
import type { Clock } from '../../lifecycle/clock.ts';
import type { Log } from '../../lifecycle/log.ts';
import type { Answer, Provider, ProviderError, ProviderEvent, ProviderRequest } from '../provider.ts';
import { Accumulator } from './accumulator.ts';
import { classify } from './classify.ts';
import { DEFAULT_MODEL, modelOf } from './models.ts';
import { toParams } from './to-params.ts';

type Params = Anthropic.Beta.MessageCreateParamsStreaming;

export interface AnthropicDeps {
  /** base URL of the proxy */
  readonly proxy: string;
  /** file with the proxy token, read at each request: kubelet exchanges it */
  readonly tokenFile: string;
  /** where attachments are read */
  readonly files: PathJail;
  readonly clock: Clock;
  readonly log: Log;
}

export class AnthropicProvider implements Provider {
  readonly name = 'anthropic';
  readonly defaultModel = DEFAULT_MODEL;
  /** About 150,000 tokens, which every model that we know can read. */
  readonly transcriptChars = 600_000;
  readonly #client: Anthropic;
  readonly #deps: AnthropicDeps;

  constructor(deps: AnthropicDeps) {
    this.#deps = deps;
    const send = patientFetch();
    this.#client = new Anthropic({
      baseURL: `${deps.proxy}/anthropic`,
      apiKey: async () => (await readFile(deps.tokenFile, 'utf8')).trim(), // sent as a bearer token
      fetch: (target, init) => send(target instanceof Request ? target.url : target, init),
      maxRetries: 0, // ours survive the process and obey a drain
      timeout: 600_000, // to the first byte; silence within a stream is the turn's to notice
      logLevel: 'off', // its messages would bypass our log
    });
  }

  compactsItself({ model, serverCompaction }: AgentConfig): boolean {
    return serverCompaction === true && modelOf(model ?? DEFAULT_MODEL).compacts;
  }

  async *stream(request: ProviderRequest, { signal }: { readonly signal: AbortSignal }): AsyncIterable<ProviderEvent> {
    const name = request.model ?? DEFAULT_MODEL;
    const { files, clock, log } = this.#deps;
    const options = { name, model: modelOf(name), files };
    try {
      const params = toParams(request, { ...options, plain: false });
      const { messages } = this.#client.beta; // the same address, with a header when a beta is asked for
      const stream = await messages.create(params, { signal }).catch((e: unknown) => {
        const refused = classify(e, clock.now());
        const plain = mayBeTheForm(refused) ? toParams(request, { ...options, plain: true }) : params;
        if (isSame(plain, params)) throw refused;
        // One picture that it cannot read, or thinking of a conversation that has changed since, would end the session for good.
        log.warn(
          { err: refused, model: name },
          'the model API refused a request, which is asked again without thinking, files and options',
        );
        return messages.create(plain, { signal });
      });
      const answer = new Accumulator(name);
      for await (const event of stream) {
        const text = answer.add(event);
        yield text === undefined ? { type: 'progress' } : { type: 'text', text };
      }
      yield answer.result() satisfies Answer;
    } catch (e) {
      if (signal.aborted) throw signal.reason;
      throw classify(e, clock.now());
    }
  }
}

/** The words may be fine all the same. */
function mayBeTheForm({ reason }: ProviderError): boolean {
  return reason === 'BadRequest' || reason === 'TooLarge';
}

function isSame(a: Params, b: Params): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
