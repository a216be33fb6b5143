import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { silentLog } from '../lifecycle/log.ts';
import { Toolbox } from '../tools/toolbox.ts';
import { useSkill } from '../tools/use-skill.ts';
import { parseSkill } from './parse-skill.ts';
import { Skills } from './skills.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dovecote-skills-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const given = (): string => join(root, 'given');
const home = (): string => join(root, 'home');
function write(folder: string, text: string, file = 'SKILL.md'): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, file), text);
}
/** As a kubelet lays out a ConfigMap. */
function mount(name: string, files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    write(join(given(), name, '..2026_01_01'), text, file);
    symlinkSync(join('..data', file), join(given(), name, file));
  }
  symlinkSync('..2026_01_01', join(given(), name, '..data'));
}
async function skills(): Promise<Skills> {
  const folders = existsSync(given()) ? readdirSync(given()).map((name) => join(given(), name)) : [];
  const made = new Skills(folders, [{ alias: '/agent/skills', dir: home() }], silentLog);
  await made.refresh();
  return made;
}
const use = (from: Skills, input: object): Promise<{ readonly text: string; readonly isError: boolean }> =>
  new Toolbox([useSkill(from)], undefined, silentLog).run('use_skill', input, { signal: new AbortController().signal } as never);

describe('skills', () => {
  test('of ConfigMaps and of the agent are listed by name, whatever their folders are called; the given one counts', async () => {
    mount('zoo-map', { 'SKILL.md': '---\nname: zoo\ndescription: |\n  Feeds\n  animals.\n---\n\nFirst the lions.\nThen the rest.\n' });
    write(join(home(), 'art'), '---\ndescription: "Draws: anything"\n---\nbody');
    write(join(home(), 'zoo'), '---\nname: zoo\ndescription: Another zoo\n---\nlies');
    mkdirSync(join(home(), 'empty'));
    const found = await skills();
    expect(found.list.map(({ name, description }) => `${name}: ${description}`)).toEqual(['art: Draws: anything', 'zoo: Feeds animals.']);
    expect(found.problems).toEqual(['/agent/skills/zoo/SKILL.md: there is another skill named zoo.']);
    expect(await use(found, { name: 'zoo' })).toEqual({ text: 'First the lions.\nThen the rest.', isError: false });
  });

  test('give their other files, and nothing outside of their folder', async () => {
    mount('zoo', { 'SKILL.md': '---\ndescription: d\n---\nsee food.txt', 'food.txt': 'meat' });
    write(root, 'secret', 'secret.txt');
    symlinkSync(join(root, 'secret.txt'), join(given(), 'zoo', '..2026_01_01', 'link.txt'));
    const found = await skills();
    expect(await use(found, { name: 'zoo', file: 'food.txt' })).toEqual({ text: 'meat', isError: false });
    for (const file of ['../../secret.txt', '/etc/passwd', 'link.txt', 'none.txt']) {
      const { text, isError } = await use(found, { name: 'zoo', file });
      expect([isError, text.includes('secret\n')]).toEqual([true, false]);
    }
  });

  test('that are malformed are left out, with a sentence where the model asks for one that is not there', async () => {
    write(join(home(), 'good'), '---\ndescription: d\n---\nbody');
    write(join(home(), 'plain'), 'no front matter');
    write(join(home(), 'broken'), '---\ndescription: [\n---\nx');
    mkdirSync(join(home(), 'folder', 'SKILL.md'), { recursive: true });
    write(join(home(), 'huge'), `---\ndescription: d\n---\n${'x'.repeat(300_000)}`);
    const found = await skills();
    expect(found.list.map(({ name }) => name)).toEqual(['good']);
    const { text } = await use(found, { name: 'plain' });
    expect(text).toContain('There is no skill named plain. There are: good.');
    for (const part of [
      'plain/SKILL.md: it does not begin',
      'broken/SKILL.md: its front matter is no YAML',
      'folder/SKILL.md cannot',
      'huge/SKILL.md cannot',
    ])
      expect(text).toContain(part);
  });

  test('that the agent made into links to themselves take nothing from the others', async () => {
    write(join(home(), 'good'), '---\ndescription: d\n---\nbody');
    mkdirSync(join(home(), 'round'));
    symlinkSync('SKILL.md', join(home(), 'round', 'SKILL.md'));
    const found = await skills();
    expect(found.list.map(({ name }) => name)).toEqual(['good']);
    expect(found.problems).toEqual([expect.stringContaining('round/SKILL.md cannot be read')]);
    rmSync(home(), { recursive: true });
    symlinkSync('home', home());
    await found.refresh();
    expect(found.list).toEqual([]);
  });

  test('are read anew when they change, appear and go', async () => {
    const found = await skills();
    expect(found.list).toEqual([]);
    write(join(home(), 'a'), '---\ndescription: one\n---\nx');
    await found.refresh();
    expect(found.list.map(({ description }) => description)).toEqual(['one']);
    write(join(home(), 'a'), '---\ndescription: two\n---\nx');
    utimesSync(join(home(), 'a', 'SKILL.md'), 1, 1);
    await found.refresh();
    expect(found.list.map(({ description }) => description)).toEqual(['two']);
    rmSync(home(), { recursive: true });
    await found.refresh();
    expect(found.list).toEqual([]);
  });
});

describe('a SKILL.md', () => {
  test.each([
    ['without an end of its front matter', '---\nname: a\n', 'front matter between'],
    ['with a list for front matter', '---\n- a\n---\n', 'no description'],
    ['with a scalar for front matter', '---\nhello\n---\n', 'no name and description'],
    ['without a description', '---\nname: a\n---\n', 'no description'],
    ['with an evil name', '---\nname: "a\\nb"\ndescription: d\n---\n', 'its name must'],
    [
      'with a bomb of aliases',
      `---\n${Array.from(
        { length: 9 },
        (_, n) =>
          `a${n}: &a${n} [${Array(9)
            .fill(n === 0 ? 'x' : `*a${n - 1}`)
            .join()}]`,
      ).join('\n')}\n---\n`,
      'refers to its own parts',
    ],
  ])('%s is refused', (_what, text, problem) => {
    const result = parseSkill(text, 'folder');
    expect(typeof result).toBe('string');
    expect(result).toContain(problem);
  });
});
