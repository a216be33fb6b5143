import type { Stats } from 'node:fs';
import { type FileInfo, FileInfo_Type } from '../gen/dovecote/v1/container_service.ts';

export function fileInfo(path: string, stats: Stats): FileInfo {
  return {
    path,
    type: typeOf(stats),
    sizeBytes: stats.size,
    mode: stats.mode & 0o7777,
    modifiedAtMs: Math.trunc(stats.mtimeMs),
    etag: etagOf(stats),
  };
}

/** Changes whenever the content may have: a file that is replaced has another inode, one that is written another time. */
export function etagOf(stats: Stats): string {
  return `${stats.ino.toString(36)}-${Math.trunc(stats.ctimeMs * 1000).toString(36)}-${stats.size.toString(36)}`;
}

function typeOf(stats: Stats): FileInfo_Type {
  if (stats.isFile()) return FileInfo_Type.FILE;
  if (stats.isDirectory()) return FileInfo_Type.DIRECTORY;
  return stats.isSymbolicLink() ? FileInfo_Type.SYMLINK : FileInfo_Type.OTHER;
}
