/** Test only: what a pure builder makes, as a file that people can read and a reviewer sees change. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from '@jest/globals';
import { stringify } from 'yaml';

/** Compares `value` as YAML with the file. To renew it: delete it, run the test twice, and look at what changed. */
export function expectGolden(file: URL, value: object): void {
  const text = stringify(JSON.parse(JSON.stringify(value)), { lineWidth: 0, aliasDuplicateObjects: false });
  if (!existsSync(file)) {
    mkdirSync(dirname(file.pathname), { recursive: true });
    writeFileSync(file, text);
    throw new Error(`there was no golden file ${file.pathname}: it has been written, look at it`);
  }
  expect(text).toBe(readFileSync(file, 'utf8'));
}
