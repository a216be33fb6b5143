/** Instructions for particular kinds of work: folders with a SKILL.md, given by the agent's maker or kept by the agent itself. */
import { type Dirent, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { JailError, PathJail, readText, TooLargeError } from '@dovecote/proto';
import type { Log } from '../lifecycle/log.ts';

const FILE = 'SKILL.md';
const FILE_BYTES = 256 * 1024;
const MOST = 200;

export interface SkillRoot {
  /** as it is shown to the model */
  readonly alias: string;
  readonly dir: string;
}

export interface Skill {
  readonly name: string;
  readonly description: string;
  readonly body: string;
  /** its folder, as it is shown to the model */
  readonly shown: string;
  readonly path: string;
}

interface Found {
  readonly skills: readonly Skill[];
  /** one sentence per folder that was left out */
  readonly problems: readonly string[];
}

export class Skills {
  readonly #given: readonly string[];
  readonly #roots: readonly SkillRoot[];
  readonly #log: Log;
  #found: Found = { skills: [], problems: [] };
  #seen = '';

  /**
   * `given`: one folder for each skill that the agent's maker gave it; `roots`: folders of such folders. Of two skills with one name
   * the first counts.
   */
  constructor(given: readonly string[], roots: readonly SkillRoot[], log: Log) {
    this.#given = given;
    this.#roots = roots;
    this.#log = log;
  }

  /** Sorted by name, as of the last refresh. */
  get list(): readonly Skill[] {
    return this.#found.skills;
  }
  get problems(): readonly string[] {
    return this.#found.problems;
  }

  /** Looks for what changed; reads only then. */
  async refresh(): Promise<void> {
    const given = this.#given.map((path) => ({ name: basename(path), path, shown: path, stamp: stampOf(path) }));
    const folders = [...given, ...this.#roots.flatMap(foldersOf)];
    const seen = folders.map(({ path, stamp }) => `${path} ${stamp}`).join('\n');
    if (seen === this.#seen) return;
    this.#found = await this.#read(folders);
    this.#seen = seen;
    for (const problem of this.#found.problems) this.#log.warn({ problem }, 'a skill was left out');
  }

  /** Another file of the skill's folder, as text. Throws JailError, TooLargeError. */
  readFile(skill: Skill, path: string): string {
    return readText(jailOf(skill.path, skill.shown), path, FILE_BYTES).text;
  }

  async #read(folders: readonly Folder[]): Promise<Found> {
    if (folders.length === 0) return { skills: [], problems: [] };
    const { parseSkill } = await import('./parse-skill.ts'); // YAML takes a while to load, and most agents have no skills
    const skills = new Map<string, Skill>();
    const problems: string[] = [];
    for (const { name, path, shown } of folders.slice(0, MOST)) {
      try {
        const parsed = parseSkill(readText(jailOf(path, shown), FILE, FILE_BYTES).text, name);
        if (typeof parsed === 'string') problems.push(`${shown}/${FILE}: ${parsed}.`);
        else if (skills.has(parsed.name)) problems.push(`${shown}/${FILE}: there is another skill named ${parsed.name}.`);
        else skills.set(parsed.name, { ...parsed, path, shown });
      } catch (e) {
        if (e instanceof JailError && e.reason === 'NotFound') continue; // a folder of something else
        if (!(e instanceof JailError) && !(e instanceof TooLargeError) && !isSystemError(e)) throw e;
        problems.push(`${shown}/${FILE} cannot be read: ${e.message}.`);
      }
    }
    if (folders.length > MOST) problems.push(`There are more than ${MOST} skills; ${folders.length - MOST} were left out.`);
    return { skills: [...skills.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), problems };
  }
}

interface Folder {
  readonly name: string;
  readonly path: string;
  readonly shown: string;
  /** changes with its SKILL.md */
  readonly stamp: string;
}

function foldersOf(root: SkillRoot): readonly Folder[] {
  let entries: readonly Dirent[];
  try {
    if (statSync(root.dir, { throwIfNoEntry: false }) === undefined) return [];
    entries = readdirSync(root.dir, { withFileTypes: true });
  } catch {
    return []; // none of that kind
  }
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => ({ name, path: join(root.dir, name), shown: `${root.alias}/${name}`, stamp: stampOf(join(root.dir, name)) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** One that cannot be looked at (a link to itself, a folder without rights) is told of when it is read: here it would end the turn. */
function stampOf(folder: string): string {
  try {
    const stat = statSync(join(folder, FILE), { throwIfNoEntry: false });
    return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
  } catch (e) {
    return String((e as NodeJS.ErrnoException).code);
  }
}

/** No link is followed, except the one by which a kubelet exchanges all files of a ConfigMap at once. */
function jailOf(path: string, alias: string): PathJail {
  let dir = path;
  try {
    const data = realpathSync(join(path, '..data'));
    if (data.startsWith(`${realpathSync(path)}/`)) dir = data;
  } catch {
    // no ConfigMap's
  }
  return new PathJail([{ alias, dir, writable: false }]);
}

function isSystemError(e: unknown): e is Error {
  return e instanceof Error && 'code' in e;
}
