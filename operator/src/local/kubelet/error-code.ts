/** The code of a system's error, such as ENOENT; undefined for anything else. By form, not by class: file system errors may be of another realm. */
export function codeOf(thrown: unknown): string | undefined {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}
