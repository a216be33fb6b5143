import { describe, expect, test } from '@jest/globals';
import type { Pod } from '../../kube/resource-types.ts';
import { exitOf } from './exit.ts';
import { earlierPodsOf, lastExitIn, podStateOf, restartsOf } from './pod-state.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const at = '2026-01-01T11:59:00Z';
const pod = (status: object, metadata: object = {}): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 's',
      namespace: 'doves',
      uid: 'pod',
      resourceVersion: '1',
      creationTimestamp: at,
      ownerReferences: [{ apiVersion: 'dovecote.dev/v1alpha1', kind: 'Session', name: 's', uid: 'session' }],
      ...metadata,
    },
    spec: { nodeName: 'n', containers: [{ name: 'runner', image: 'i', resources: { limits: { memory: '512Mi' } } }] },
    status,
  }) as Pod;
const waiting = (reason: string, message?: string) => ({ containerStatuses: [{ state: { waiting: { reason, message } } }] });
const state = (status: object) => podStateOf(pod(status), 'session', NOW);

describe('podStateOf()', () => {
  test.each(['ErrImagePull', 'ImagePullBackOff', 'InvalidImageName', 'ErrImageNeverPull'])('%s is about the image', (reason) => {
    expect(state(waiting(reason, 'why'))).toMatchObject({
      is: 'starting',
      trouble: { reason: 'ImagePull', message: 'The image i cannot be had: why' },
    });
  });

  test.each(['CreateContainerConfigError', 'RunContainerError', 'CreateContainerError'])('%s is a failure with its own words', (reason) => {
    expect(state(waiting(reason, 'why'))).toMatchObject({
      trouble: { reason: 'PodFailed', message: `The Pod cannot be started (${reason}): why` },
    });
  });

  test.each(['ContainerCreating', 'PodInitializing'])('%s is no trouble', (reason) => {
    expect(state(waiting(reason))).toEqual({ is: 'starting', ageMs: 60_000, crashed: false });
  });

  test('a Pod without any status is starting', () => {
    expect(state({})).toEqual({ is: 'starting', ageMs: 60_000, crashed: false });
  });

  test('a Pod whose runner fell and is not yet said to wait has crashed, without trouble', () => {
    const terminated = { exitCode: 1, reason: 'Error', finishedAt: at };
    expect(state({ phase: 'Running', containerStatuses: [{ state: { terminated } }] })).toEqual({
      is: 'starting',
      ageMs: 60_000,
      crashed: true,
    });
  });

  test.each([
    { name: 'Evicted', status: { phase: 'Failed', reason: 'Evicted', message: 'low on memory' }, reason: 'Evicted' },
    {
      name: 'drained or preempted',
      status: { phase: 'Failed', conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }] },
      reason: 'Evicted',
    },
    { name: 'refused by its node', status: { phase: 'Failed', reason: 'UnexpectedAdmissionError', message: 'no' }, reason: 'PodFailed' },
    { name: 'failed without a word', status: { phase: 'Failed' }, reason: 'PodFailed' },
  ])('a Pod that was $name has ended', ({ status, reason }) => {
    expect(state(status)).toMatchObject({ is: 'ended', exit: { reason }, ranMs: 0 });
  });

  test('a Pod that runs and is called not ready by the cluster alone is on a silent node', () => {
    const conditions = (ready: string, containers: string) => [
      { type: 'Ready', status: ready },
      { type: 'ContainersReady', status: containers },
    ];
    const running = { containerStatuses: [{ state: { running: { startedAt: at } } }] };
    expect(state({ ...running, conditions: conditions('False', 'True') })).toEqual({ is: 'lost', node: 'n' });
    expect(state({ ...running, conditions: conditions('True', 'True') })).toEqual({ is: 'running', ranMs: 60_000 });
    expect(state({ ...running, conditions: conditions('False', 'False') })).toEqual({ is: 'running', ranMs: 60_000 });
  });
});

describe('exitOf()', () => {
  test.each([
    { ended: { exitCode: 137, reason: 'OOMKilled' }, reason: 'OOMKilled', message: /limit of 512Mi/ },
    { ended: { exitCode: 0, reason: 'Completed' }, reason: 'Completed', message: /finished/ },
    { ended: { exitCode: 75 }, reason: 'DiskFull', message: /disk is full$/ },
    { ended: { exitCode: 78, message: 'a\nb\n\n' }, reason: 'RunnerRefused', message: /: b$/ },
    {
      ended: { exitCode: 78, message: 'a\n{"level":60,"err":{"message":"version 9","stack":"at x"},"msg":"too new"}\n' },
      reason: 'RunnerRefused',
      message: /files: too new: version 9$/,
    },
    { ended: { exitCode: 78, message: '{"level":60,"err":{"mess' }, reason: 'RunnerRefused', message: /: {"level":60,"err":{"mess$/ },
    { ended: { exitCode: 78, message: 'null' }, reason: 'RunnerRefused', message: /: null$/ },
    { ended: { exitCode: 137 }, reason: 'Killed', message: /was killed$/ },
    { ended: { exitCode: 139 }, reason: 'Crashed', message: /exit code 139$/ },
  ])('$ended is $reason', ({ ended, reason, message }) => {
    const exit = exitOf({ finishedAt: at, ...ended }, '512Mi');
    expect(exit).toMatchObject({ reason, at, exitCode: ended.exitCode });
    expect(exit.message).toMatch(message);
  });

  test('keeps no more of a long line than a status may hold', () => {
    expect(exitOf({ exitCode: 1, finishedAt: at, message: '🕊'.repeat(5_000) }, undefined).message.length).toBeLessThan(1_024);
  });
});

describe('what is counted', () => {
  test('are the Pods before and the restarts in this one', () => {
    const status = { containerStatuses: [{ restartCount: 2 }] };
    expect(restartsOf(pod(status, { annotations: { 'dovecote.dev/restarts': '3' } }))).toBe(5);
    expect(earlierPodsOf(pod(status, { annotations: { 'dovecote.dev/restarts': 'many' } }))).toBe(0);
  });

  test('the last exit in a Pod that runs again is the one before', () => {
    const terminated = { exitCode: 1, finishedAt: at };
    expect(lastExitIn(pod({ containerStatuses: [{ state: { running: {} }, lastState: { terminated } }] }), NOW)).toMatchObject({
      exitCode: 1,
    });
    expect(lastExitIn(pod({ containerStatuses: [{ state: { running: {} }, lastState: {} }] }), NOW)).toBeUndefined();
  });
});
