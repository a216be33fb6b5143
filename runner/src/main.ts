/**
 * Hop 7: the process inside a session Pod. Reads inbound.db, runs turns, writes outbound.db. Started by the Pod builder, or
 * by `dovecote local` as a child process.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { ConfigurationError, EXIT } from './lifecycle/exit.ts';
import { type Options, parseOptions } from './lifecycle/options.ts';

process.exitCode = await main();

async function main(): Promise<number> {
  const major = Number(process.versions.node.split('.')[0]);
  if (major < 24) return refuse(`cannot start the runner: Node 24 or newer is needed, this is ${process.versions.node}`);
  let options: Options;
  try {
    options = parseOptions(process.argv.slice(2));
  } catch (e) {
    if (e instanceof ConfigurationError) return refuse(e.message);
    throw e;
  }
  const terminate = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => terminate.abort());
  // Of the bundle, what one process compiled the next one reads. Does nothing where the folder cannot be written, as in a Pod.
  if (import.meta.url.endsWith('.mjs')) enableCompileCache(join(import.meta.dirname, '.compiled'));
  // Loaded only now: native modules crash on a Node that is too old, instead of saying so.
  const { start } = await import('./lifecycle/start.ts');
  const code = await start(options, { terminate: terminate.signal }, process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin');
  // Sockets that linger in their own close must not keep a drained runner alive.
  process.exit(code);
}

function refuse(sentence: string): number {
  process.stderr.write(`${sentence}\n`);
  return EXIT.configuration;
}
