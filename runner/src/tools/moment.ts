import { ToolError } from './tool.ts';

/** A time that the model wrote, in ms since 1970: ISO 8601, without a zone in UTC. Throws ToolError. */
export function parseMoment(field: string, text: string): number {
  const withZone = /[zZ]|[+-]\d\d:?\d\d$/.test(text.slice(10)) || /^\d{4}-\d\d-\d\d$/.test(text) ? text : `${text}Z`;
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(withZone.replace(' ', 'T')) : Number.NaN;
  if (Number.isNaN(at)) throw new ToolError(`${field} is not a time: write it as 2026-03-01 or 2026-03-01T09:05Z.`);
  return at;
}

/** To the minute, as messages show it. */
export function showMoment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16)}Z`;
}
