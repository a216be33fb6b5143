// RE2, the API server's regular expressions, and JavaScript's do not agree. What is written in a schema must mean the same to both.

/** The end of a character class that begins at `start`, or undefined if RE2 and JavaScript would not agree where it ends. */
const classEnd = (source: string, start: number): number | undefined => {
  let at = start + (source[start + 1] === '^' ? 2 : 1);
  if (source[at] === ']') return undefined;
  for (; at < source.length; at++) {
    if (source[at] === '\\') at++;
    else if (source[at] === ']') return at;
  }
  return undefined;
};

/**
 * The first part of a regular expression in a schema that RE2 refuses or reads differently from JavaScript; undefined if there is none. RE2 has no
 * look-around, back-reference or \u and repeats at most 1000 times; \s, \S, \v and . compile but match other characters.
 */
export const notRE2 = (source: string): string | undefined => {
  for (let at = 0; at < source.length; at++) {
    const rest = source.slice(at);
    if (rest.startsWith('\\')) {
      if (!/^\\([dDwWbBtnrf]|[^a-zA-Z0-9])/.test(rest)) return rest.slice(0, 2);
      at++;
    } else if (rest.startsWith('(?')) {
      if (!rest.startsWith('(?:')) return rest.slice(0, 3);
    } else if (rest.startsWith('.')) {
      return '.';
    } else if (rest.startsWith('[')) {
      const end = classEnd(source, at);
      if (end === undefined) return rest.slice(0, 2);
      const inside = source.slice(at + 1, end);
      const bad = /\[[:.=]/.exec(inside) ?? /\\[^dDwWtnrf\W]/.exec(inside.replaceAll('\\\\', ''));
      if (bad !== null) return bad[0];
      at = end;
    } else {
      const [count, least, most] = /^\{([0-9]+)(?:,([0-9]*))?\}/.exec(rest) ?? [];
      if (count !== undefined && Math.max(Number(least), Number(most ?? 0)) > 1000) return count;
    }
  }
  try {
    new RegExp(source, 'u');
    return undefined;
  } catch {
    return source;
  }
};

interface Repeat {
  /** How often at most (or at least, if without bound); 1 for what is not counted. */
  times: number;
  inside: Repeat[];
}
/** RE2 refuses counts that multiply to more than 1000. */
const fits = (repeat: Repeat, room: number): boolean => {
  if (repeat.times === 0) return true;
  if (repeat.times > room) return false;
  return repeat.inside.every((inner) => fits(inner, Math.floor(room / repeat.times)));
};

const CONTROL: Readonly<Record<string, string>> = { t: '\t', n: '\n', r: '\r', f: '\f', v: '\v' };
/** The code point that one end of a range stands for. */
const codePoint = (end: string): number => (end.startsWith('\\') ? (CONTROL[end.slice(1)] ?? end.slice(1)) : end).codePointAt(0) ?? 0;

/** The first range of a class that runs backwards. */
const backwards = (inside: string): string | undefined => {
  const items = inside.replace(/^\^/, '').replace(/^-/, '');
  for (const [range, from, to] of items.matchAll(/(\\[\s\S]|[^\\])(?:-(\\[\s\S]|[^\\]))?/gu)) {
    if (from !== undefined && to !== undefined && !/^\\[dDwWsS]$/.test(from) && codePoint(from) > codePoint(to)) return range;
  }
  return undefined;
};

const TOKEN = /\\[\s\S]|\[\^?(?:\\[\s\S]|[^\]\\])*\]|\((?:\?i?:)?|\)|\{(?<least>[0-9]+)(?<comma>,(?<most>[0-9]*))?\}\??|[\s\S]/gu;

/**
 * Why RE2 cannot compile an expression, in the words of Go; undefined if it can. Exact for expressions that match ENGAGE_PATTERN (balance, ranges
 * and counts are all that can be wrong with those) and for those that notRE2() passes.
 */
export const re2Problem = (source: string): string | undefined => {
  const says = (what: string, where: string): string => `error parsing regexp: ${what}: \`${where}\``;
  const outside: Repeat[][] = [];
  let here: Repeat[] = [];
  let last: Repeat | undefined;
  for (const { 0: text, groups } of source.matchAll(TOKEN)) {
    const { least, comma, most } = groups ?? {};
    if (text.startsWith('(')) {
      outside.push(here);
      here = [];
      last = undefined;
    } else if (text === ')') {
      last = { times: 1, inside: here };
      const outer = outside.pop();
      if (outer === undefined) return says('unexpected )', source);
      here = outer;
      here.push(last);
    } else if (least !== undefined) {
      const low = Number(least);
      const high = comma === undefined ? low : most === undefined || most === '' ? undefined : Number(most);
      if (low > 1000 || (high !== undefined && (high > 1000 || low > high))) return says('invalid repeat count', text.replace(/\?$/, ''));
      if (last === undefined) continue;
      last.inside = [{ times: last.times, inside: last.inside }];
      last.times = high ?? low;
      if ((low >= 2 || (high ?? 0) >= 2) && !fits(last, 1000)) return says('invalid repeat count', text);
    } else {
      const range = text.startsWith('[') && text.length > 1 ? backwards(text.slice(1, -1)) : undefined;
      if (range !== undefined) return says('invalid character class range', range);
      last = { times: 1, inside: [] };
      here.push(last);
    }
  }
  return outside.length > 0 ? says('missing closing )', source) : undefined;
};

/** An expression that both understand, as JavaScript runs it. A leading (?i), which JavaScript does not know, becomes a flag. */
export const compileRE2 = (source: string): RegExp => {
  const insensitive = source.startsWith('(?i)');
  return new RegExp(insensitive ? source.slice(4) : source, insensitive ? 'iu' : 'u');
};
