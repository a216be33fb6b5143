import { linkSync, lstatSync, renameSync, type Stats, unlinkSync } from 'node:fs';
import { JailError, type PathJail, translate } from './path-jail.ts';
import { syncLater } from './sync.ts';

/**
 * Gives a file, a link or a folder another path below the same root, in one step. Without `replace` nothing may be there; with it a
 * file takes a file's place, a folder that of an empty one. Throws JailError: NotFound, Exists, Invalid, ReadOnly, Link.
 */
export async function move(jail: PathJail, from: string, to: string, replace: boolean): Promise<Stats> {
  const source = jail.openParent(from, { write: true });
  try {
    const target = jail.openParent(to, { write: true });
    try {
      // In a Pod each root is a mount of its own; on the volume they are not. The same call must do the same.
      if (source.resolved.root !== target.resolved.root)
        throw new JailError('Invalid', `${to} is below another root than ${from}: copy it, then delete it`);
      const [old, young] = [source.folder.entry(source.name), target.folder.entry(target.name)];
      const { shown } = target.resolved;
      const what = attempt(source.resolved.shown, () => lstatSync(old));
      const before = attempt(shown, () => lstatSync(young, { throwIfNoEntry: false }));
      if (before !== undefined && !replace) throw new JailError('Exists', `${shown} exists already`);
      if (before?.isDirectory() && !what.isDirectory()) throw new JailError('NotAFile', `${shown} is a folder`);
      attempt(shown, () => {
        // A link is made only where nothing is, also when somebody makes something there at this moment. Folders cannot be linked: one
        // made there at this moment is replaced only while it is empty.
        if (replace || what.isDirectory()) renameSync(old, young);
        else {
          linkSync(old, young);
          unlinkSync(old);
        }
      });
      await syncLater(target.folder.fd);
      await syncLater(source.folder.fd);
      return attempt(shown, () => lstatSync(young));
    } finally {
      target.folder.close();
    }
  } finally {
    source.folder.close();
  }
}

function attempt<T>(shown: string, work: () => T): T {
  try {
    return work();
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'EINVAL')
      throw new JailError('Invalid', `${shown} is below the folder that is to be moved`, { cause: e });
    throw translate(e, shown);
  }
}
