import { gemoji, nameToEmoji } from 'gemoji';

/** Variation selectors say how an emoji is drawn, not which one it is. */
const bare = (emoji: string): string => emoji.replaceAll('\uFE0F', '');
const names = new Map(gemoji.map(({ emoji, names: [name = ''] }) => [bare(emoji), name]));
const TONES = ['\u{1F3FB}', '\u{1F3FC}', '\u{1F3FD}', '\u{1F3FE}', '\u{1F3FF}'];

/** Slack's name for a Unicode emoji, or for one already given as `name` or `:name:`; undefined when it has none. Most names are GitHub's. */
export function slackEmojiName(emoji: string): string | undefined {
  const [, given] = /^:?([a-z0-9_+'-]+):?$/.exec(emoji) ?? [];
  if (given !== undefined) return nameToEmoji[given] === undefined ? undefined : given;
  const tone = TONES.findIndex((modifier) => emoji.includes(modifier));
  const name = names.get(bare(emoji.replace(/[\u{1F3FB}-\u{1F3FF}]/gu, '')));
  return name === undefined || tone < 0 ? name : `${name}::skin-tone-${tone + 2}`;
}
