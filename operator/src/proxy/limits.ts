/** The numbers of the proxy that somebody chose. Times in ms. */
export interface ProxyLimits {
  /** Requests and tunnels that one session may have open: one Pod must not take what belongs to all. */
  readonly openPerSession: number;
  /** The longest that one model request may take. Each stream also ends with the token that opened it. */
  readonly modelMs: number;
  readonly mcpMs: number;
  readonly egressMs: number;
  /** A tunnel without a byte either way for so long is cut. */
  readonly egressIdleMs: number;
  readonly resolveMs: number;
  readonly dialMs: number;
  /** For delivery to say whether there is budget left. */
  readonly admitMs: number;
  /** Requests whose usage delivery has not taken yet. */
  readonly unfinished: number;
  /** At its end the proxy lets open requests go on for so long. */
  readonly drainMs: number;
}

export const PROXY_LIMITS: ProxyLimits = {
  openPerSession: 128,
  modelMs: 3_600_000,
  mcpMs: 24 * 3_600_000,
  egressMs: 4 * 3_600_000,
  egressIdleMs: 300_000,
  resolveMs: 5_000,
  dialMs: 10_000,
  admitMs: 3_000,
  unfinished: 10_000,
  drainMs: 0,
};
