import { describe, expect, test } from '@jest/globals';
import { systemClock } from '../lib/clock.ts';
import { DeadlineError, withDeadline } from './deadline.ts';

const never = (signal: AbortSignal, heard: (reason: unknown) => void = () => {}): Promise<never> => {
  signal.addEventListener('abort', () => heard(signal.reason));
  return new Promise(() => {});
};

describe('withDeadline', () => {
  test('answers with the work’s own answer or failure', async () => {
    expect(await withDeadline(systemClock, 'it', 60_000, undefined, async () => 'done')).toBe('done');
    await expect(withDeadline(systemClock, 'it', 60_000, undefined, () => Promise.reject(new Error('own')))).rejects.toThrow('own');
  });

  test('rejects when the time is over, whether the work heeds its signal or not', async () => {
    const heard: unknown[] = [];
    await expect(withDeadline(systemClock, 'it', 5, undefined, (signal) => never(signal, (reason) => heard.push(reason)))).rejects.toThrow(
      new DeadlineError('it took longer than 5 ms'),
    );
    expect(heard).toHaveLength(1);
  });

  test('rejects with the parent’s reason, and begins nothing under a parent that has aborted', async () => {
    const parent = new AbortController();
    const running = withDeadline(systemClock, 'it', 60_000, parent.signal, (signal) => never(signal));
    parent.abort(new Error('closing'));
    await expect(running).rejects.toThrow('closing');
    let begun = false;
    const late = withDeadline(systemClock, 'it', 60_000, parent.signal, async () => {
      begun = true;
    });
    await expect(late).rejects.toThrow('closing');
    expect(begun).toBe(false);
  });
});
