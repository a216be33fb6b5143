/** What people may tell an agent's session itself, and not its model. */
export type Command = '/stop' | '/compact';

/** Mentions before it, as Slack writes them or as people do; Telegram puts the bot's name behind it. */
const COMMAND = /^(?:(?:<@[^<>]+>|@\S+)\s+)*\/(stop|compact)(?:@\S+)?$/i;

/** The command that a message consists of. undefined: it is a message, also one that begins with a slash. */
export function commandOf(text: string): Command | undefined {
  const word = COMMAND.exec(text.trim())?.[1]?.toLowerCase();
  return word === undefined ? undefined : (`/${word}` as Command);
}
