import { describe, expect, test } from '@jest/globals';
import { ConflictError, ForbiddenError, GoneError, InvalidError, KubeError, ThrottledError } from './errors.ts';
import { fromKube } from './from-kube.ts';

const status = (code: number, extra: object = {}) => ({ code, body: { kind: 'Status', code, message: 'said by the server', ...extra } });

describe('an API server that refuses is understood by its code', () => {
  test.each([
    [400, InvalidError],
    [422, InvalidError],
    [413, InvalidError],
    [401, ForbiddenError],
    [403, ForbiddenError],
    [409, ConflictError],
    [410, GoneError],
    [429, ThrottledError],
    [404, KubeError],
    [500, KubeError],
    [503, KubeError],
  ])('%i', (code, type) => {
    const error = fromKube('read Pod p', status(code));
    expect(error).toBeInstanceOf(type);
    expect(error.message).toContain('said by the server');
  });

  test('causes name their fields; the remark that names none is left out', () => {
    const causes = [
      { field: 'spec.a', reason: 'FieldValueInvalid', message: 'bad' },
      { field: '<nil>', reason: 'FieldValueInvalid', message: 'some rules were not checked' },
    ];
    expect(fromKube('x', status(422, { details: { causes } }))).toMatchObject({ message: 'said by the server', causes: [causes[0]] });
  });

  test('a taken name is told from a lost race', () => {
    expect(fromKube('x', status(409, { reason: 'AlreadyExists' }))).toMatchObject({ reason: 'AlreadyExists' });
    expect(fromKube('x', status(409, { reason: 'Conflict' }))).toMatchObject({ reason: 'Conflict' });
  });

  test('the wait of a throttling server comes from its header, its body, or is a second', () => {
    expect(fromKube('x', { ...status(429), retryAfterMs: 3_000 })).toMatchObject({ afterMs: 3_000 });
    expect(fromKube('x', status(429, { details: { retryAfterSeconds: 7 } }))).toMatchObject({ afterMs: 7_000 });
    expect(fromKube('x', status(429))).toMatchObject({ afterMs: 1_000 });
  });

  test('an answer that is no Status has a sentence all the same', () => {
    expect(fromKube('read Pod p', { code: 502, body: undefined }).message).toBe('cannot read Pod p: no reason given (502)');
    expect(fromKube('read Pod p', { code: 403, body: '<html>' }).message).toBe('cannot read Pod p: forbidden');
  });
});
