import { describe, expect, test } from '@jest/globals';
import { AgentGroup, admit, admitStatus, Channel, MessagingGroup, Session } from './index.ts';

const object = <Spec, More extends object>(kind: string, spec: Spec, more: More = {} as More) => ({
  apiVersion: 'dovecote.dev/v1alpha1',
  kind,
  metadata: { name: 'x', namespace: 'default' },
  spec,
  ...more,
});
const demo = { provider: { type: 'demo' } };

describe('admit', () => {
  test('fills in defaults, also inside what is given', () => {
    const { object: stored } = admit(AgentGroup, object('AgentGroup', { ...demo, limits: { maxAwake: 3 } }));
    expect(stored['spec']).toEqual({
      ...demo,
      effort: 'medium',
      idleTimeout: '10m',
      shards: { count: 1 },
      chat: { streaming: true, toolLine: true },
      limits: { maxAwake: 3, maxSteps: 50, turnTimeout: '30m', noProgressTimeout: '120s', jobTime: '1h', storage: '1Gi' },
    });
  });
  test('reads null as absent', () => {
    const { object: stored, failures } = admit(AgentGroup, object('AgentGroup', { ...demo, model: null, effort: null }));
    expect(failures).toEqual([]);
    expect(stored['spec']).toMatchObject({ effort: 'medium' });
    expect(stored['spec']).not.toHaveProperty('model');
  });
  test('leaves what it was given as it was', () => {
    const given = object('MessagingGroup', { channelRef: 'a', chatId: 'b', agents: [{ agentGroupRef: 'c' }] });
    const before = structuredClone(given);
    admit(MessagingGroup, given);
    expect(given).toEqual(before);
  });
  test('keeps the stored status and drops the written one', () => {
    const old = object('Channel', { type: 'local' }, { status: { account: 'me' } });
    expect(admit(Channel, object('Channel', { type: 'local' }, { status: { account: 'you' } }), old).object['status']).toEqual({
      account: 'me',
    });
    expect(admit(Channel, object('Channel', { type: 'local' }, { status: { account: 'you' } })).object).not.toHaveProperty('status');
  });
  test('compares the agents of a chat by name and not by place', () => {
    const spec = (...agents: string[]) => ({
      channelRef: 'a',
      chatId: 'b',
      agents: agents.map((agentGroupRef) => ({ agentGroupRef, engage: { mode: 'Pattern', pattern: '(' } })),
    });
    const old = object('MessagingGroup', spec('a', 'b'));
    expect(admit(MessagingGroup, object('MessagingGroup', spec('b', 'a')), old).failures).toEqual([]);
  });
  test('an object stored under a laxer schema can be changed elsewhere, but not where it is wrong', () => {
    const old = object('AgentGroup', { ...demo, idleTimeout: '9000h', runtimeClassName: 'OLD' });
    expect(
      admit(AgentGroup, object('AgentGroup', { ...demo, idleTimeout: '9000h', runtimeClassName: 'OLD', effort: 'low' }), old).failures,
    ).toEqual([]);
    expect(
      admit(AgentGroup, object('AgentGroup', { ...demo, idleTimeout: '9001h', runtimeClassName: 'OLDER' }), old).failures.map(
        (f) => f.field,
      ),
    ).toEqual(['spec.runtimeClassName', 'spec.idleTimeout']);
  });
  test('an empty object is not taken for an unchanged empty list', () => {
    const spec = { channelRef: 'a', chatId: 'b' };
    const { failures } = admit(
      MessagingGroup,
      object('MessagingGroup', { ...spec, agents: {} }),
      object('MessagingGroup', { ...spec, agents: [] }),
    );
    expect(failures.map((f) => f.field)).toEqual(['spec.agents', '<nil>']);
  });
  test('quotes values the way Go does', () => {
    const { failures } = admit(AgentGroup, object('AgentGroup', { ...demo, runtimeClassName: 'a\u00a0"b"\n<é😀\u0001' }));
    expect(failures[0]?.message.startsWith('Invalid value: "a\\u00a0\\"b\\"\\n<é😀\\x01": ')).toBe(true);
  });
  test('does not look into values of the wrong type', () => {
    for (const spec of ['text', 5, true, [], ['a']])
      expect(admit(AgentGroup, object('AgentGroup', spec)).failures.map((f) => f.field)).toEqual(['spec', '<nil>']);
  });
});

describe('admitStatus', () => {
  const old = object('Session', { agentGroupRef: 'a', agentGroupUid: 'u', shard: 's', scope: '*' }, { status: { phase: 'Asleep' } });
  test('takes the status and nothing else', () => {
    const written = { ...old, spec: { ...old.spec, awake: true }, status: { phase: 'Waking' } };
    expect(admitStatus(Session, written, old)).toEqual({ object: { ...old, status: { phase: 'Waking' } }, failures: [] });
  });
  test('an absent status clears it', () => {
    const { status: _, ...bare } = old;
    expect(admitStatus(Session, bare, old).object).toEqual(bare);
  });
});
