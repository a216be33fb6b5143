/**
 * The process is told to end while something waits. Nothing was used: the next process waits on, from `nextTryAt` (ms since
 * 1970; 0: at once).
 */
export class WaitCutError extends Error {
  override readonly name = 'WaitCutError';
  readonly nextTryAt: number;
  constructor(what: string, nextTryAt: number) {
    super(`the wait for ${what} was cut by a drain`);
    this.nextTryAt = nextTryAt;
  }
}
