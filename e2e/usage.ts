/** What every program of this repository that a person may start by hand answers to `--help`, and to flags that it does not know. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * The flags and, where `allowPositionals` is set, the words of the command line. `--help` prints the usage and ends the process with 0; what
 * cannot be read prints why and ends it with 2.
 */
export function flagsOf<C extends ParseArgsConfig>(usage: string, config: C): ReturnType<typeof parseArgs<C>> {
  if (process.argv.slice(2).some((arg) => arg === '--help' || arg === '-h')) {
    process.stdout.write(`${usage.trim()}\n`);
    process.exit(0);
  }
  try {
    return parseArgs(config);
  } catch (e) {
    refuse(e instanceof Error ? e.message : String(e));
  }
}

/** For values that are wrong. */
export function refuse(why: string): never {
  process.stderr.write(`${why} (see --help)\n`);
  process.exit(2);
}
