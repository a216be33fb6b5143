/** What the runner's exit code tells the controller. */
export const EXIT = {
  drained: 0,
  crash: 1,
  /** sysexits EX_TEMPFAIL: the volume is full */
  diskFull: 75,
  /** sysexits EX_CONFIG: a wrong flag, or files of a version that this program must not touch */
  configuration: 78,
} as const;

/** A mistake in how the runner was started. Its message is the one sentence that people see. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError';
}

export const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));
