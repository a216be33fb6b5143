/** /anthropic/…: requests to the model. Admitted by the budget, opened by the provider's key, metered as the answer passes. */
import type { Dispatcher } from 'undici';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import type { SessionCaller } from './authentication.ts';
import { type Exchange, forward } from './forward.ts';
import type { Metered, UsageLedger } from './metering/usage-ledger.ts';
import { UsageReader } from './metering/usage-reader.ts';
import type { ProxyMetrics } from './metrics.ts';
import { Refusal } from './refusal.ts';
import type { SecretCache } from './secret-cache.ts';
import { modelUpstream, type Upstream } from './upstream.ts';

export interface ModelRouteDeps {
  readonly secrets: Pick<SecretCache, 'values' | 'forget'>;
  readonly ledger: Pick<UsageLedger, 'begin' | 'admit' | 'finish'>;
  readonly dispatcher: Dispatcher;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: ProxyMetrics;
}

export const MODEL_PREFIX = '/anthropic/';
const MESSAGES = /^\/v1\/messages(\?beta=true)?$/;
/** What a runner may ask for; everything else of the provider's API (files, administration) stays shut. Matched as sent: an encoded slash is no slash. */
const ALLOWED: readonly { readonly method: string; readonly path: RegExp }[] = [
  { method: 'POST', path: MESSAGES },
  { method: 'POST', path: /^\/v1\/messages\/count_tokens(\?beta=true)?$/ },
  { method: 'GET', path: /^\/v1\/models(\/[A-Za-z0-9][A-Za-z0-9._-]*)?(\?[A-Za-z0-9=&_-]*)?$/ },
];
const FORWARDED: ReadonlySet<string> = new Set([
  'accept',
  'anthropic-beta',
  'anthropic-version',
  'content-length',
  'content-type',
  'user-agent',
]);

/** The path of the provider's API that a request asks for. Throws Refusal for what is not served. */
export function modelPath(method: string | undefined, url: string): string {
  const path = url.slice(MODEL_PREFIX.length - 1);
  if (!ALLOWED.some((rule) => rule.method === method && rule.path.test(path)))
    throw Refusal.notServed('the proxy serves only messages, token counts and models');
  return path;
}

/** Answers with the upstream's status. Throws Refusal, or the stream's error. */
export async function serveModel(exchange: Exchange, caller: SessionCaller, path: string, deps: ModelRouteDeps): Promise<number> {
  const { agentGroup, session } = caller;
  const upstream = modelUpstream(agentGroup, path, deps.secrets.values);
  const send = async (to: Upstream, observer?: UsageReader): Promise<number> => {
    const { dispatcher, secrets } = deps;
    const forwarded = (name: string): boolean => FORWARDED.has(name);
    const status = await forward(exchange, to, { forwarded, dispatcher, what: 'the model provider', ...(observer && { observer }) });
    if (status === 401) secrets.forget(to.secrets);
    return status;
  };
  if (!MESSAGES.test(path)) return send(await upstream);

  const metered: Metered = { requestId: deps.random.id(24), session, agentGroup, model: agentGroup.spec.model ?? '' };
  // Both at once: neither waits for the other, and without a credential nothing is asked of the model.
  const [found, admission] = await Promise.allSettled([upstream, admit(metered, deps.ledger)]);
  if (admission.status === 'rejected') throw admission.reason;
  const reader = new UsageReader();
  try {
    if (found.status === 'rejected') {
      reader.headers(403, {});
      throw found.reason;
    }
    return await send(found.value, reader);
  } catch (e) {
    if (e instanceof Refusal) reader.headers(e.status, {}); // no answer of the model, nothing used
    throw e;
  } finally {
    const { tokens, model, complete, readable } = reader.result();
    if (!readable) {
      deps.metrics.unmetered.inc();
      deps.log.error({ session, agentGroup: agentGroup.metadata.name }, 'usage of a model request could not be read from the answer');
    }
    deps.ledger.finish({ ...metered, model: model ?? metered.model }, tokens, complete);
  }
}

/** Throws Refusal when the budget is used up, or when so little is left that somebody has to be asked, who cannot be. */
async function admit(metered: Metered, ledger: ModelRouteDeps['ledger']): Promise<void> {
  if (ledger.begin(metered)) return;
  const { metadata } = metered.agentGroup;
  const answer = await ledger.admit(metered).catch((e: unknown) => {
    const sentence = `whether AgentGroup ${metadata.name} has budget left cannot be found out at the moment`;
    throw Refusal.unavailable('budget_unknown', sentence, { cause: e });
  });
  if (answer.admitted) return;
  const headers = { 'retry-after': new Date(answer.retryAtMs).toUTCString() };
  throw new Refusal({ status: 402, type: 'budget_exhausted', outcome: 'budget_exhausted', headers }, answer.sentence);
}
