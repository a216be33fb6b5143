import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CERTIFICATE_NAME } from '@dovecote/proto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { selfSigned } from '../container-service/certificate.ts';
import { Bell } from './bell.ts';
import { systemClock } from './clock.ts';
import { ConfigurationError } from './exit.ts';
import { startHeartbeat } from './heartbeat.ts';
import { type Log, silentLog } from './log.ts';
import { parseOptions } from './options.ts';

const needed = ['--session', 's', '--in', '/in', '--out', '/out', '--workspace', '/w', '--home', '/h'];

describe('the flags', () => {
  test('are read, with the defaults', () => {
    expect(parseOptions(needed)).toMatchObject({
      session: 's',
      in: '/in',
      listen: '127.0.0.1:0',
      graceMs: 50_000,
      logLevel: 'info',
      attach: undefined,
    });
    expect(parseOptions([...needed, '--proxy', 'http://p:1/', '--grace-ms', '7', '--listen', '0.0.0.0:9090'])).toMatchObject({
      proxy: 'http://p:1',
      graceMs: 7,
      listen: '0.0.0.0:9090',
    });
  });

  test.each([
    [[], '--session is needed'],
    [[...needed, '--nonsense'], "Unknown option '--nonsense'"],
    [[...needed, 'stray'], "Unexpected argument 'stray'"],
    [[...needed, '--log-level', 'loud'], '--log-level must be one of'],
    [[...needed, '--attach', 'nowhere'], '--attach must be host:port'],
    [[...needed, '--attach', 'h:1'], '--attach needs --token'],
    [[...needed, '--listen', 'h:99999'], '--listen must be host:port'],
    [[...needed, '--proxy', 'ftp://x'], '--proxy must be an http or https URL'],
    [[...needed, '--grace-ms', '-1'], '--grace-ms'],
    [[...needed, '--retry-ms', '1.5'], '--retry-ms must be a whole number'],
    [[...needed, '--crash-at', 'nowhere'], '--crash-at must be'],
    [[...needed, '--session'], '--session'],
  ])('that are wrong are refused in one sentence: %j', (args, sentence) => {
    expect(() => parseOptions(args)).toThrow(ConfigurationError);
    expect(() => parseOptions(args)).toThrow(sentence);
  });

  test('that are wrong end the process with 78 and one line', () => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [join(import.meta.dirname, '..', 'main.ts'), '--log-level', 'loud'], {
      encoding: 'utf8',
    });
    expect([status, stdout]).toEqual([78, '']);
    expect(stderr.trim().split('\n')).toEqual([
      'cannot start the runner: --log-level must be one of trace, debug, info, warn, error, fatal, silent, not "loud"',
    ]);
  });
});

describe('the certificate', () => {
  test('is a valid self-signed one for the pinned name, with a key of its own each time', () => {
    const [a, b] = [selfSigned(Date.now()), selfSigned(Date.now())];
    const certificate = new X509Certificate(a.certificate);
    expect(certificate.checkHost(CERTIFICATE_NAME)).toBe(CERTIFICATE_NAME);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect(certificate.ca).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(certificate.validFromDate.getTime()).toBeLessThan(Date.now());
    expect(a.key).not.toBe(b.key);
    expect(new X509Certificate(b.certificate).fingerprint256).not.toBe(certificate.fingerprint256);
  });

  test('is valid before and after 2050, when the form of its dates changes', () => {
    for (const year of [2026, 2045, 2060]) {
      const now = Date.UTC(year, 5, 1);
      expect(new X509Certificate(selfSigned(now).certificate).validToDate.getUTCFullYear()).toBe(year + 10);
    }
  });
});

describe('the heartbeat', () => {
  const pulse = (path: string) => {
    let beat = (): void => {};
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, sentence: string) => void warnings.push(sentence) } as unknown as Log;
    const every = (_ms: number, task: () => void) => {
      beat = task;
      return () => {};
    };
    startHeartbeat(path, { ...systemClock, every }, log);
    return { beat: () => beat(), warnings };
  };
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'dovecote-heartbeat-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  test('beats at once and then by its timer', () => {
    const file = join(root, 'heartbeat');
    const { beat } = pulse(file);
    utimesSync(file, 1, 1);
    beat();
    expect(statSync(file).mtimeMs).toBeGreaterThan(1_000_000);
  });

  test('that cannot be written is said once, and again when it had been well meanwhile', () => {
    const { beat, warnings } = pulse(join(root, 'gone/heartbeat'));
    beat();
    expect(warnings).toHaveLength(1);
    mkdirSync(join(root, 'gone'));
    beat();
    rmSync(join(root, 'gone'), { recursive: true });
    beat();
    expect(warnings).toHaveLength(2);
  });

  test('touches nothing that a link of the agent leads to', () => {
    writeFileSync(join(root, 'target'), '');
    utimesSync(join(root, 'target'), 1, 1);
    symlinkSync(join(root, 'target'), join(root, 'heartbeat'));
    expect(pulse(join(root, 'heartbeat')).warnings).toHaveLength(1);
    expect(statSync(join(root, 'target')).mtimeMs).toBe(1_000);
  });
});

describe('the bell', () => {
  test('keeps a ring for whoever was about to wait', async () => {
    const bell = new Bell(systemClock);
    const heard = bell.count;
    bell.ring();
    await bell.wait(heard, 1e9, new AbortController().signal);
    const waiting = bell.wait(bell.count, 1e9, new AbortController().signal);
    bell.ring();
    await waiting;
    const stop = new AbortController();
    const stopped = bell.wait(bell.count, 1e9, stop.signal);
    stop.abort();
    await stopped;
    await bell.wait(bell.count, 1, new AbortController().signal);
  });
});
