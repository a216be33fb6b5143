import { parseArgs } from 'node:util';
import { CRASH_POINTS, type CrashPoint, crashAt, noCrash, type Reached } from './crash-point.ts';
import { ConfigurationError, toError } from './exit.ts';

/** How a runner is started. Directories are options: only the Pod builder knows the names inside a Pod. */
export interface Options {
  readonly session: string;
  /** the cell's three folders and the agent's home, as this process sees them */
  readonly in: string;
  readonly out: string;
  readonly workspace: string;
  readonly home: string;
  /** the folders of the skills that the agent was given, one each */
  readonly skills: readonly string[];
  /** delivery's Attach service, host:port; absent: the runner polls only */
  readonly attach: string | undefined;
  /** file with the token for `attach`, read again at each dial */
  readonly token: string | undefined;
  /** base URL of the proxy; absent: only the demo provider works */
  readonly proxy: string | undefined;
  /** file with the token for the proxy, read again at each request */
  readonly proxyToken: string | undefined;
  /** where ContainerService listens, host:port */
  readonly listen: string;
  readonly logLevel: string;
  /** how long a SIGTERM waits for the step in hand, ms */
  readonly graceMs: number;
  /** the wait after a message, or a step, ended its second process, ms; each further one doubles it */
  readonly retryMs: number;
  readonly reached: Reached;
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** Throws ConfigurationError with one sentence that names the flag. */
export function parseOptions(args: readonly string[]): Options {
  const text = { type: 'string' } as const;
  let values: Record<string, string | undefined>;
  let skills: readonly string[];
  try {
    const parsed = parseArgs({
      args: [...args],
      allowPositionals: false,
      options: {
        session: text,
        in: text,
        out: text,
        workspace: text,
        home: text,
        skills: { type: 'string', multiple: true },
        attach: text,
        token: text,
        proxy: text,
        'proxy-token': text,
        listen: text,
        'log-level': text,
        'grace-ms': text,
        'retry-ms': text,
        'crash-at': text,
      },
    });
    ({ skills = [], ...values } = parsed.values);
  } catch (e) {
    // node's own sentence names the flag; what follows its first full stop is a hint for another kind of program
    throw new ConfigurationError(`cannot start the runner: ${toError(e).message.split('. ')[0]}`, { cause: e });
  }
  const required = (name: string): string => {
    const value = values[name];
    if (value === undefined || value === '') throw new ConfigurationError(`cannot start the runner: --${name} is needed`);
    return value;
  };
  const logLevel = values['log-level'] ?? 'info';
  if (!LEVELS.includes(logLevel)) throw wrong('log-level', logLevel, `one of ${LEVELS.join(', ')}`);
  const attach = values['attach'];
  const token = values['token'];
  if (attach !== undefined) {
    checkAddress('attach', attach);
    if (token === undefined) throw new ConfigurationError('cannot start the runner: --attach needs --token, the file with its credential');
  }
  const proxy = values['proxy'];
  if (proxy !== undefined && !/^https?:$/.test(URL.canParse(proxy) ? new URL(proxy).protocol : ''))
    throw wrong('proxy', proxy, 'an http or https URL');
  const listen = values['listen'] ?? '127.0.0.1:0';
  checkAddress('listen', listen);
  const grace = values['grace-ms'] ?? '50000';
  if (!/^\d{1,9}$/.test(grace)) throw wrong('grace-ms', grace, 'a whole number of milliseconds');
  const retry = values['retry-ms'] ?? '5000';
  if (!/^\d{1,9}$/.test(retry)) throw wrong('retry-ms', retry, 'a whole number of milliseconds');
  return {
    session: required('session'),
    in: required('in'),
    out: required('out'),
    workspace: required('workspace'),
    home: required('home'),
    skills,
    attach,
    token,
    proxy: proxy?.replace(/\/+$/, ''),
    proxyToken: values['proxy-token'],
    listen,
    logLevel,
    graceMs: Number(grace),
    retryMs: Number(retry),
    reached: parseCrashAt(values['crash-at']),
  };
}

function wrong(flag: string, value: string, wanted: string): ConfigurationError {
  return new ConfigurationError(`cannot start the runner: --${flag} must be ${wanted}, not "${value}"`);
}

function checkAddress(flag: string, value: string): void {
  const port = /^.+:(\d{1,5})$/.exec(value)?.[1];
  if (port === undefined || Number(port) > 65_535) throw wrong(flag, value, 'host:port');
}

function parseCrashAt(spec: string | undefined): Reached {
  if (spec === undefined) return noCrash;
  const [point, nth = '1'] = spec.split('#');
  const known = CRASH_POINTS.find((p): p is CrashPoint => p === point);
  if (known === undefined || !/^[1-9]\d{0,5}$/.test(nth))
    throw wrong('crash-at', spec, `<point>#<n> with one of ${CRASH_POINTS.join(', ')}`);
  return crashAt(known, Number(nth));
}
