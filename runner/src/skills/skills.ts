/** Instructions for particular kinds of work: folders with a SKILL.md, given by the agent's maker or kept by the agent itself. */
import { type Dirent, readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
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
  readonly root: SkillRoot;
  /** its folder's name below the root */
  readonly folder: string;
}

interface Found {
  readonly skills: readonly Skill[];
  /** one sentence per folder that was left out */
  readonly problems: readonly string[];
}

export class Skills {
  readonly #roots: readonly SkillRoot[];
  readonly #log: Log;
  #found: Found = { skills: [], problems: [] };
  #seen = '';

  /** Of two skills with one name that of the first root counts. */
  constructor(roots: readonly SkillRoot[], log: Log) {
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
    const folders = this.#roots.flatMap((root) => foldersOf(root));
    const seen = folders.map(({ path, stamp }) => `${path} ${stamp}`).join('\n');
    if (seen === this.#seen) return;
    this.#found = await this.#read(folders);
    this.#seen = seen;
    for (const problem of this.#found.problems) this.#log.warn({ problem }, 'a skill was left out');
  }

  /** Another file of the skill's folder, as text. Throws JailError, TooLargeError. */
  readFile(skill: Skill, path: string): string {
    return readText(jailOf(join(skill.root.dir, skill.folder), `${skill.root.alias}/${skill.folder}`), path, FILE_BYTES).text;
  }

  async #read(folders: readonly Folder[]): Promise<Found> {
    if (folders.length === 0) return { skills: [], problems: [] };
    const { parseSkill } = await import('./parse-skill.ts'); // YAML takes a while to load, and most agents have no skills
    const skills = new Map<string, Skill>();
    const problems: string[] = [];
    for (const { root, folder, path } of folders.slice(0, MOST)) {
      const shown = `${root.alias}/${folder}`;
      try {
        const parsed = parseSkill(readText(jailOf(path, shown), FILE, FILE_BYTES).text, folder);
        if (typeof parsed === 'string') problems.push(`${shown}/${FILE}: ${parsed}.`);
        else if (skills.has(parsed.name)) problems.push(`${shown}/${FILE}: there is another skill named ${parsed.name}.`);
        else skills.set(parsed.name, { ...parsed, root, folder });
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
  readonly root: SkillRoot;
  readonly folder: string;
  readonly path: string;
  /** changes with its SKILL.md */
  readonly stamp: string;
}

function foldersOf(root: SkillRoot): readonly Folder[] {
  let entries: readonly Dirent[];
  try {
    entries = readdirSync(root.dir, { withFileTypes: true });
  } catch {
    return []; // none of that kind
  }
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => ({ root, folder: name, path: join(root.dir, name), stamp: stampOf(join(root.dir, name, FILE)) }))
    .sort((a, b) => (a.folder < b.folder ? -1 : 1));
}

function stampOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino} ${stat.mtimeMs} ${stat.size}`;
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
