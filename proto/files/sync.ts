import { fsync } from 'node:fs';
import { promisify } from 'node:util';

/** What was written to the file, or the names in the folder, are on the disk when it resolves; the process goes on meanwhile. */
export const syncLater: (fd: number) => Promise<void> = promisify(fsync);
