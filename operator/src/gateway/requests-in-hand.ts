import type { FastifyInstance } from 'fastify';

/**
 * Counts the requests of a server that have not been answered. node's own idle check knows no connection that was opened and never
 * used, such as browsers keep at hand: it would hold up a shutdown until the last deadline.
 */
export class RequestsInHand {
  #count = 0;
  #idle: (() => void) | undefined;

  constructor(app: FastifyInstance) {
    app.addHook('onRequest', async (_request, reply) => {
      this.#count += 1;
      // close, not finish: a caller that went away never sees the end of its answer.
      reply.raw.once('close', () => {
        this.#count -= 1;
        if (this.#count === 0) this.#idle?.();
      });
    });
  }

  /** Resolves once every request has been answered. For use at shutdown, when no new ones come. */
  answered(): Promise<void> {
    if (this.#count === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}
