import { describe, expect, test } from '@jest/globals';
import { dnsPeers, jsonObject, keyValue, seconds, wholeNumber } from './flag-values.ts';

describe('the value of a flag', () => {
  test.each<[string, () => unknown, unknown]>([
    ['a whole number', () => wholeNumber(1)('100'), 100],
    ['seconds, as ms', () => seconds('1.5'), 1_500],
    ['an object', () => jsonObject('{"a":1}'), { a: 1 }],
    ['pairs, one after the other', () => keyValue('B=x=y', { A: '1' }), { A: '1', B: 'x=y' }],
    [
      'places of DNS',
      () => dnsPeers('[{"podLabels":{"k8s-app":"dns"}},{"cidr":"169.254.20.10/32"}]'),
      [{ podLabels: { 'k8s-app': 'dns' } }, { cidr: '169.254.20.10/32' }],
    ],
  ])('%s is read', (_, read, value) => {
    expect(read()).toEqual(value);
  });

  test.each<[string, () => unknown, string]>([
    ['a number that is none', () => wholeNumber(1)('many'), 'It must be a whole number from 1.'],
    ['a port that is none', () => wholeNumber(0, 65_535)('70000'), 'from 0 to 65535'],
    ['no time', () => seconds('0'), 'above 0'],
    ['no JSON', () => jsonObject('{'), 'It must be JSON.'],
    ['another kind of JSON', () => jsonObject('[]'), 'a JSON object'],
    ['a name alone', () => keyValue('A', {}), 'name=value'],
    // An empty selector selects every Pod: a policy with it would let everything through on that port.
    ['a peer that selects nothing', () => dnsPeers('[{}]'), 'namespaceLabels or podLabels, or else cidr'],
    ['labels that are empty', () => dnsPeers('[{"namespaceLabels":{},"podLabels":{}}]'), 'namespaceLabels or podLabels'],
    ['a peer of two kinds', () => dnsPeers('[{"cidr":"10.0.0.1/32","podLabels":{"a":"b"}}]'), 'or else cidr'],
    ['a field that is none', () => dnsPeers('[{"podlabels":{"a":"b"}}]'), 'must not have podlabels'],
    ['no peer', () => dnsPeers('[]'), 'at least one'],
  ])('%s is refused with what it must be', (_, read, sentence) => {
    expect(read).toThrow(sentence);
  });
});
