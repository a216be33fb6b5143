/** Slack's Web API with our own deadlines, and none of the client's retries: ours are durable. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { WebClient, type WebClientOptions } from '@slack/web-api';
import type { Log } from '../../../lib/log.ts';
import { slackLogger } from './logger.ts';

/** Longest wait for a call that has no deadline of its own. */
const TIMEOUT_MS = 15_000;
/** When Slack says 429 and not for how long. */
const USUAL_RETRY_AFTER_S = '30';

/** The client has no place for a signal in its calls; its `fetch` finds the one of the call here. */
const deadline = new AsyncLocalStorage<AbortSignal>();

export function within<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  return deadline.run(signal, call);
}

/** Options for WebClient, bolt and Socket Mode alike. */
export function clientOptions(apiUrl: string | undefined, log: Log): WebClientOptions {
  return {
    ...(apiUrl !== undefined && { slackApiUrl: apiUrl.endsWith('/') ? apiUrl : `${apiUrl}/` }),
    logger: slackLogger(log),
    // A retry in memory is gone when the process is; and the default one goes on for half an hour.
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    timeout: TIMEOUT_MS,
    // One slow chat must not keep the others waiting in the client's own queue.
    maxRequestConcurrency: 100,
    fetch: async (url, init) => {
      const signals = [init?.signal, deadline.getStore()].filter((signal) => signal !== undefined && signal !== null);
      const response = await fetch(url, { ...init, signal: AbortSignal.any(signals) }).catch((thrown: unknown) => {
        // The client keeps of a failure only what is an Error of its own realm; the code that says whether anything was sent is deeper.
        throw new Error('the request failed', { cause: thrown });
      });
      if (response.status !== 429 || Number(response.headers.get('retry-after')) > 0) return response;
      const headers = new Headers(response.headers);
      headers.set('retry-after', USUAL_RETRY_AFTER_S);
      return new Response(response.body, { status: 429, headers });
    },
  };
}

export function webClient(token: string, options: WebClientOptions): WebClient {
  return new WebClient(token, options);
}
