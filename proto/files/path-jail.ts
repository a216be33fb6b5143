/**
 * Every path that a model or a caller names is resolved here and nowhere else, in the Pod by the runner and, while it sleeps, on the
 * volume by delivery: below one of the session's folders, one component at a time, links never followed. On Linux each component is opened relative to the folder opened before it
 * (/proc/self/fd/N/name is openat), so that no exchange of a folder for a link between check and use can lead outside.
 */
import { closeSync, constants, existsSync, fstatSync, fsyncSync, lstatSync, mkdirSync, openSync, realpathSync, type Stats } from 'node:fs';
import { basename, dirname, join, posix } from 'node:path';

export interface Root {
  /** what models and callers call it, also on a laptop: /workspace, /agent */
  readonly alias: string;
  readonly dir: string;
  readonly writable: boolean;
}

export type JailReason =
  | 'Outside'
  | 'Link'
  | 'NotFound'
  | 'NotAFolder'
  | 'NotAFile'
  | 'ReadOnly'
  | 'Exists'
  | 'Changed'
  | 'TooLarge'
  | 'Invalid';

/** A path that may not be used, in one sentence for whoever named it. */
export class JailError extends Error {
  override readonly name = 'JailError';
  readonly reason: JailReason;
  constructor(reason: JailReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/** An open folder below a root, and how to name an entry of it to the kernel. */
export interface OpenFolder {
  readonly fd: number;
  /** the entry `name` of this very folder, whatever stands at its path by now */
  entry(name: string): string;
  close(): void;
}

/** The open folder that holds a path, and the path's last component. Whoever asked for it closes the folder. */
export interface OpenParent {
  readonly folder: OpenFolder;
  readonly name: string;
  readonly resolved: Resolved;
}

export interface ParentOptions {
  readonly write: boolean;
  readonly createParents?: boolean;
}

export interface Resolved {
  readonly root: Root;
  /** components below the root; empty: the root itself */
  readonly parts: readonly string[];
  /** as it is shown to models and callers */
  readonly shown: string;
}

const LINUX = process.platform === 'linux';
const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

export class PathJail {
  /** The first root takes relative paths. */
  readonly roots: readonly Root[];

  constructor(roots: readonly Root[]) {
    this.roots = roots.map((root) => ({ ...root, dir: realFolder(root.dir) }));
  }

  /** The roots as people and models see them. */
  get shown(): string {
    return this.roots.map((root) => root.alias).join(', ');
  }

  /** Pure: touches no file. Throws JailError Outside or Invalid. */
  resolve(path: string): Resolved {
    if (path.includes('\0')) throw new JailError('Invalid', 'the path contains a NUL character');
    const normal = posix.normalize(path === '' ? '.' : path);
    if (!normal.startsWith('/')) {
      const [root] = this.roots;
      if (root !== undefined) return this.#below(root, normal, path);
    }
    for (const root of this.roots) {
      for (const prefix of [root.alias, root.dir]) {
        if (normal === prefix || normal.startsWith(`${prefix}/`)) return this.#below(root, normal.slice(prefix.length + 1), path);
      }
    }
    throw new JailError('Outside', `${path} is outside of ${this.shown}`);
  }

  #below(root: Root, relative: string, path: string): Resolved {
    const parts = relative.split('/').filter((part) => part !== '' && part !== '.');
    if (parts[0] === '..') throw new JailError('Outside', `${path} is outside of ${this.shown}`);
    return { root, parts, shown: posix.join(root.alias, ...parts) };
  }

  /** The real path, for a program that runs in the session anyway (exec). Checks only that it is inside. */
  realPath(path: string): string {
    const { root, parts } = this.resolve(path);
    return join(root.dir, ...parts);
  }

  /** The folder at `path`, for work that takes a while: close it. */
  openFolder(path: string): OpenFolder {
    const resolved = this.resolve(path);
    return this.#walk(resolved, resolved.parts, false);
  }

  /** Calls `use` with the open folder at `path`. */
  withFolder<T>(path: string, use: (folder: OpenFolder, resolved: Resolved) => T): T {
    const folder = this.openFolder(path);
    try {
      return use(folder, this.resolve(path));
    } finally {
      folder.close();
    }
  }

  /** The folder that holds `path`, for work that takes a while: close it. Throws Invalid for a root itself. */
  openParent(path: string, options: ParentOptions): OpenParent {
    const resolved = this.resolve(path);
    const name = resolved.parts.at(-1);
    if (name === undefined) throw new JailError('Invalid', `${path} is a whole folder of the session, not something in it`);
    if (options.write && !resolved.root.writable) throw new JailError('ReadOnly', `${resolved.root.alias} is read-only`);
    return { folder: this.#walk(resolved, resolved.parts.slice(0, -1), options.createParents === true), name, resolved };
  }

  /** Calls `use` with the open folder that holds `path`, and the last component. Throws Invalid for a root itself. */
  withParent<T>(path: string, options: ParentOptions, use: (folder: OpenFolder, name: string, resolved: Resolved) => T): T {
    const { folder, name, resolved } = this.openParent(path, options);
    try {
      return use(folder, name, resolved);
    } finally {
      folder.close();
    }
  }

  /** What is at the path; a link is a link. */
  stat(path: string): Stats {
    const resolved = this.resolve(path);
    if (resolved.parts.length === 0) return lstatSync(resolved.root.dir);
    return this.withParent(path, { write: false }, (folder, name) => {
      try {
        return lstatSync(folder.entry(name));
      } catch (e) {
        throw translate(e, resolved.shown);
      }
    });
  }

  /** An open regular file, for work that takes a while: close its descriptor. Never waits for a pipe, never opens a device. */
  openFile(path: string): { readonly fd: number; readonly stats: Stats; readonly resolved: Resolved } {
    return this.withParent(path, { write: false }, (folder, name, resolved) => {
      // Looked at first: a device may do something when it is opened.
      refuseUnlessFile(
        attempt(resolved.shown, () => lstatSync(folder.entry(name))),
        resolved.shown,
      );
      const fd = attempt(resolved.shown, () =>
        openSync(folder.entry(name), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK),
      );
      try {
        const stats = fstatSync(fd);
        refuseUnlessFile(stats, resolved.shown);
        return { fd, stats, resolved };
      } catch (e) {
        closeSync(fd);
        throw e;
      }
    });
  }

  /** Calls `use` with an open regular file. */
  withFile<T>(path: string, use: (fd: number, stats: Stats, resolved: Resolved) => T): T {
    const { fd, stats, resolved } = this.openFile(path);
    try {
      return use(fd, stats, resolved);
    } finally {
      closeSync(fd);
    }
  }

  #walk({ root, shown }: Resolved, parts: readonly string[], create: boolean): OpenFolder {
    let folder = open(root.dir, root.dir, shown);
    try {
      for (const part of parts) {
        const path = folder.entry(part);
        if (create && root.writable) makeFolder(folder, part, shown);
        refuseLink(path, shown);
        const next = open(path, join(folder.path, part), shown);
        folder.close();
        folder = next;
      }
      return folder;
    } catch (e) {
      folder.close();
      throw e;
    }
  }
}

/** A root may be made later (attachments, by delivery): its parent is what is resolved then. */
function realFolder(dir: string): string {
  return existsSync(dir) ? realpathSync(dir) : join(realpathSync(dirname(dir)), basename(dir));
}

/** A folder inside an open one, without following a link in its place. Throws as `translate` says. */
export function openWithin(folder: OpenFolder, name: string | Buffer, shown: string): OpenFolder {
  return open(entryPath(folder, name), folder.entry(String(name)), shown);
}

/** As `OpenFolder.entry`, also for a name that is no UTF-8. */
export function entryPath(folder: OpenFolder, name: string | Buffer): string | Buffer {
  return typeof name === 'string' ? folder.entry(name) : Buffer.concat([Buffer.from(folder.entry('')), name]);
}

function open(path: string | Buffer, plainPath: string, shown: string): OpenFolder & { readonly path: string } {
  const fd = attempt(shown, () => openSync(path, FOLDER));
  // Other systems have no openat in reach: there the path is checked component by component, which a program that runs at
  // the same time could race. Pods are Linux.
  const base = LINUX ? `/proc/self/fd/${fd}` : plainPath;
  return { fd, path: plainPath, entry: (name) => `${base}/${name}`, close: () => closeSync(fd) };
}

/** One that was there already is fine. Durable when it returns. */
export function makeFolder(folder: OpenFolder, name: string, shown: string): { readonly made: boolean } {
  try {
    mkdirSync(folder.entry(name), 0o755);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'EEXIST') return { made: false };
    throw translate(e, shown);
  }
  fsyncSync(folder.fd); // without it the folder, and all that is written into it, may be gone after a crash of the node
  return { made: true };
}

function refuseUnlessFile(stats: Stats, shown: string): void {
  if (stats.isFile()) return;
  if (stats.isSymbolicLink()) throw new JailError('Link', `${shown} is a link, and links are not followed`);
  throw new JailError('NotAFile', `${shown} is ${stats.isDirectory() ? 'a folder' : 'not a regular file'}`);
}

/** Only for a better sentence: what guards is O_NOFOLLOW in the open that follows. */
function refuseLink(path: string, shown: string): void {
  if (attempt(shown, () => lstatSync(path)).isSymbolicLink())
    throw new JailError('Link', `${shown} leads through a link, and links are not followed`);
}

function attempt<T>(shown: string, work: () => T): T {
  try {
    return work();
  } catch (e) {
    throw translate(e, shown);
  }
}

/** The kernel's refusals as ours, by code. Others (disk full, input/output) stay as they are. */
export function translate(e: unknown, shown: string): unknown {
  switch ((e as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return new JailError('NotFound', `${shown} does not exist`, { cause: e });
    case 'ELOOP':
      return new JailError('Link', `${shown} is a link, and links are not followed`, { cause: e });
    case 'ENOTDIR':
      return new JailError('NotAFolder', `${shown} is not a folder, or one of its parents is not`, { cause: e });
    case 'ENOTEMPTY':
      return new JailError('Invalid', `${shown} is a folder that is not empty`, { cause: e });
    case 'EISDIR':
      return new JailError('NotAFile', `${shown} is a folder`, { cause: e });
    case 'EEXIST':
      return new JailError('Exists', `${shown} exists already`, { cause: e });
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new JailError('ReadOnly', `${shown} may not be used: permission denied`, { cause: e });
    case 'ENAMETOOLONG':
      return new JailError('Invalid', `${shown} is too long a name`, { cause: e });
    case 'ENXIO':
      return new JailError('NotAFile', `${shown} is not a regular file`, { cause: e });
    default:
      return e;
  }
}
