// The regular expressions of spec.agents[].engage.pattern. The API server checks them with RE2, the gateway runs them in JavaScript, so only
// what both understand may be written. ENGAGE_PATTERN decides that (by its tokens), RE2 the rest (balance, ranges).
import { compileRE2 } from './re2.ts';

const ESCAPE = '\\\\[dDwWsStnrfv.*+?()|\\[\\]{}^$/\\\\]';
const CLASS_CHAR = '([^-^\\\\\\[\\]]|\\\\[tnrfv.*+?()|\\[\\]{}^$/\\\\-])';
const CLASS_ITEM = `(\\\\[dDwWsS]|${CLASS_CHAR}(-${CLASS_CHAR})?)`;
const CLASS = `\\[\\^?(-?${CLASS_ITEM}+-?|-)\\]`;
const LITERAL = '[^-\\\\\\[\\](){}*+?^$|]|-';
const COUNT = '([*+?]|\\{[0-9]{1,3}(,[0-9]{0,3})?\\})[?]?';
const OPEN = '\\((\\?i?:)?|[|^$]|\\\\[bB]';

/** An RE2 and JavaScript expression over expressions: true of those whose every token both understand. */
export const ENGAGE_PATTERN = `^(\\(\\?i\\))?(${OPEN}|(${ESCAPE}|${CLASS}|${LITERAL}|\\))(${COUNT})?)*$`;

/** Compiles a stored pattern for the gateway. Characters are code points; the expression may match anywhere in the text. */
export const compileEngagePattern = (pattern: string): RegExp => compileRE2(pattern);
