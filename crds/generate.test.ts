import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { render } from './generate.ts';
import { crd, kinds } from './src/index.ts';

const folder = new URL('.', import.meta.url);

describe('the generated files', () => {
  test('are those that the kinds say (else: node crds/generate.ts)', () => {
    expect(readdirSync(folder).filter((file) => file.endsWith('.yaml'))).toEqual([...render().keys()].sort());
    for (const [file, text] of render()) expect(readFileSync(new URL(file, folder), 'utf8')).toBe(text);
  });
  test('mean the same to a YAML 1.1 reader, which kubectl is', () => {
    for (const kind of kinds)
      expect(parse(render().get(`${kind.plural}.yaml`) ?? '', { version: '1.1' })).toEqual(JSON.parse(JSON.stringify(crd(kind))));
  });
});
