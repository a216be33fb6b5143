import { describe, expect, test } from '@jest/globals';
import {
  AgentGroup,
  type AgentGroupSpecInput,
  Destination,
  ParseError,
  parse,
  parseSpec,
  Session,
  type SessionManifest,
  type SessionSpec,
} from './index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Fails to compile when its type argument is not `true`. */
const holds = <_T extends true>(): void => {};

const metadata = {
  name: 'x',
  namespace: 'default',
  uid: 'u',
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-01T00:00:00Z',
};
const stored = {
  apiVersion: 'dovecote.dev/v1alpha1',
  kind: 'Session',
  metadata,
  spec: { agentGroupRef: 'a', agentGroupUid: 'u', shard: 's', scope: '*' },
};
const caught = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return error;
  }
};

describe('parse', () => {
  test('gives a typed object, with defaults', () => {
    const session = parse(Session, stored);
    expect(session.spec.awake).toBe(false);
    expect(session.spec.generation).toBe(1);
    holds<Equal<typeof session.spec, SessionSpec>>();
    holds<Equal<typeof session.kind, 'Session'>>();
    holds<Equal<typeof session.metadata.uid, string>>();
  });
  test('keeps metadata it has no use for, and drops fields it does not know', () => {
    const session = parse(Session, { ...stored, metadata: { ...metadata, managedFields: [1] }, spec: { ...stored.spec, later: 1 } });
    expect(session.metadata).toHaveProperty('managedFields');
    expect(session.spec).not.toHaveProperty('later');
  });
  test.each<[string, unknown, string, string]>([
    ['a field', { ...stored, spec: { ...stored.spec, awake: 'yes' } }, 'spec.awake', 'cannot read Session default/x: spec.awake: '],
    ['a missing field', { ...stored, spec: {} }, 'spec.agentGroupRef', 'cannot read Session default/x: spec.agentGroupRef: '],
    ['another kind', { ...stored, kind: 'Channel' }, 'kind', 'cannot read Session default/x: kind: '],
    [
      'a status field',
      { ...stored, status: { conditions: [{}] } },
      'status.conditions[0].type',
      'cannot read Session default/x: status.conditions[0].type: ',
    ],
    ['no object at all', 'x', '', 'cannot read Session: object: '],
  ])('names %s that is wrong', (_name, value, field, message) => {
    const error = caught(() => parse(Session, value));
    expect(error).toBeInstanceOf(ParseError);
    expect(error).toMatchObject({ kind: 'Session', field });
    expect(String((error as Error).message).startsWith(message)).toBe(true);
  });
  test('parseSpec names the field of a spec alone', () => {
    expect(caught(() => parseSpec(Destination, { agentGroupRef: 'a', localName: 'b', target: { type: 'pigeon' } }))).toMatchObject({
      field: 'spec.target.type',
    });
  });
});

describe('types', () => {
  test('what has a default may be left out of a manifest and is there once stored', () => {
    holds<Equal<SessionSpec['awake'], boolean>>();
    holds<Equal<SessionManifest['spec']['awake'], boolean | undefined>>();
    holds<Equal<SessionSpec['type'], 'Chat' | 'Schedule' | 'Heartbeat' | 'Subagent' | 'Api'>>();
    holds<Equal<AgentGroup['spec']['limits']['maxAwake'], number>>();
    const least: AgentGroupSpecInput = { provider: { type: 'demo' } };
    const manifest: SessionManifest = { apiVersion: 'dovecote.dev/v1alpha1', kind: 'Session', metadata: { name: 'x' }, spec: stored.spec };
    expect([parseSpec(AgentGroup, least).effort, parseSpec(Session, manifest.spec).suspended]).toEqual(['medium', false]);
  });
});
