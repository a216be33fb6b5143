import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';

const INVALID = Symbol('invalid');
/** Patterns are few and written by admins; the bound is against a controller that rewrites them for ever. */
const compiled = new LRUCache<string, RE2JS | typeof INVALID>({ max: 1_000 });

/**
 * Whether `pattern` (RE2, as the API server checked it) matches somewhere in `text`; undefined when it cannot be compiled.
 * RE2's engine takes time linear in the text: people whom nobody trusts choose the text, and a backtracking engine can be
 * kept busy for hours by forty characters.
 */
export function matchesPattern(pattern: string, text: string): boolean | undefined {
  let engine = compiled.get(pattern);
  if (engine === undefined) {
    engine = compile(pattern);
    compiled.set(pattern, engine);
  }
  return engine === INVALID ? undefined : engine.matcher(text).find();
}

function compile(pattern: string): RE2JS | typeof INVALID {
  try {
    return RE2JS.compile(pattern);
  } catch {
    return INVALID; // an object that was stored before the rule in the schema existed
  }
}
