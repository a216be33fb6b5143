/** Scripts that write words without spaces, where two characters are a word and what people look for. */
const RUN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]+/gu;
const WHOLE = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]{1,2}$/u;

/** Each character of such a script with the one behind it, and the last of a run alone, with spaces between. */
export function pairsOf(text: string): string {
  return [...text.matchAll(RUN)]
    .flatMap(([run]) => {
      const characters = [...run];
      return characters.map((character, n) => character + (characters[n + 1] ?? ''));
    })
    .join(' ');
}

/** A word of one or two such characters: one that `pairsOf` makes findable. */
export function isPair(word: string): boolean {
  return WHOLE.test(word);
}
