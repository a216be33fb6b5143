import { parseAnswer } from './answer-blocks.ts';

/** What may be the beginning of a tag whose rest has not come yet. */
const HALF_A_TAG = /<(?:\/?[a-z]{0,8}|message\s[^<>]*)$/;

/** What people may see of an answer that is still being written: no block of it, nor a tag of which only half has come. Pure. */
export function visiblePart(text: string): string {
  return parseAnswer(text.replace(HALF_A_TAG, '')).plain;
}
