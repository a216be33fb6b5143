// Why an object was refused, in the API server's words, as a program and as a person at kubectl sees it.
import { type Kind, VERSION } from './kind.ts';

/** As in status.details.causes[].reason. UnknownField is ours: the API server answers those with 400 and no causes. */
export type FailureType =
  | 'FieldValueRequired'
  | 'FieldValueInvalid'
  | 'FieldValueTypeInvalid'
  | 'FieldValueNotSupported'
  | 'FieldValueDuplicate'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'UnknownField';

export interface Failure {
  /** Such as spec.agents[0].engage.pattern; `<nil>` for a remark on the object as a whole. */
  field: string;
  type: FailureType;
  /** Without the field: `Required value: must be set when type is 'slack'`. */
  message: string;
}

const WORDS: Readonly<Record<FailureType, string>> = {
  FieldValueRequired: 'Required value',
  FieldValueInvalid: 'Invalid value',
  FieldValueTypeInvalid: 'Invalid value',
  FieldValueNotSupported: 'Unsupported value',
  FieldValueDuplicate: 'Duplicate value',
  FieldValueForbidden: 'Forbidden',
  FieldValueTooLong: 'Too long',
  FieldValueTooMany: 'Too many',
  UnknownField: 'unknown field',
};
/** These print no value. */
const SILENT: ReadonlySet<FailureType> = new Set(['FieldValueRequired', 'FieldValueForbidden', 'FieldValueTooLong']);

const GO_ESCAPES: Readonly<Record<string, string>> = {
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};
const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, '0');
/** Go's %q: like JSON, but what cannot be printed is escaped in Go's way. */
export const goQuote = (text: string): string =>
  `"${[...text]
    .map((char) => {
      const code = char.codePointAt(0) ?? 0;
      if (char === '"' || char === '\\') return `\\${char}`;
      if (GO_ESCAPES[char] !== undefined) return GO_ESCAPES[char];
      if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
      if (char === ' ' || /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(char)) return char;
      return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
    })
    .join('')}"`;

/** Go's JSON: keys in order, and no characters that HTML would read. */
const goJson = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  ).replace(/[<>&\u2028\u2029]/g, (char) => `\\u${hex(char.charCodeAt(0), 4)}`);

const show = (value: unknown): string => {
  if (value === null || value === undefined) return 'null';
  return typeof value === 'string' ? goQuote(value) : goJson(value);
};

/** A failure as the API server words it: the sort, the value unless the sort is one that prints none, the detail. */
export const failure = (field: string, type: FailureType, value: unknown, detail = ''): Failure => {
  const head = SILENT.has(type) ? WORDS[type] : `${WORDS[type]}: ${show(value)}`;
  return { field, type, message: detail === '' ? head : `${head}: ${detail}` };
};

/** What kubectl prints when the API server refuses `name` for these failures (after "error: " or "Error from server (BadRequest): "). */
export const invalidMessage = (kind: Kind, name: string, failures: readonly Failure[]): string => {
  const unknown = failures.filter((f) => f.type === 'UnknownField');
  if (unknown.length > 0) {
    const fields = unknown.map((f) => `unknown field "${f.field}"`).join(', ');
    return `${kind.kind} in version "${VERSION}" cannot be handled as a ${kind.kind}: strict decoding error: ${fields}`;
  }
  const lines = [...new Set(failures.map((f) => `${f.field}: ${f.message}`))];
  const head = `The ${kind.kind} ${goQuote(name)} is invalid: `;
  return lines.length === 1 ? head + lines[0] : [head, ...lines.map((line) => `* ${line}`)].join('\n');
};
