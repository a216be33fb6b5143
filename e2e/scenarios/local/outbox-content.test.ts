import { expect } from '@jest/globals';
import Sqlite from 'better-sqlite3';
import { demoAgent, manifest } from '../../harness/objects.ts';
import { acceptEverything, slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, slackStage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = slackStage({
  manifests: {
    ...demoAgent('helper'),
    ...demoAgent('other'),
    ...slackChats(),
    ...manifest('Destination', 'lobby', {
      agentGroupRef: 'helper',
      localName: 'lobby',
      target: { type: 'channel', channel: { channelRef: 'team', chatId: 'CLOBBY' } },
    }),
    ...manifest('Destination', 'secret', {
      agentGroupRef: 'other',
      localName: 'vault',
      target: { type: 'channel', channel: { channelRef: 'team', chatId: 'CVAULT' } },
    }),
  },
});

const send = (text: string, to?: string): string => `tool send_message ${JSON.stringify({ text, ...(to !== undefined && { to }) })}`;

verifies(
  'out/chunking',
  'a long text is split within the limit of the platform, in order, with nothing lost and every code fence closed and opened again',
  async () => {
    const scene = stage.it;
    const taken = acceptEverything(scene.mock);
    const code = Array.from({ length: 1_500 }, (_, n) => `line ${n} of code;`).join('\n');
    await scene.says({ chat: 'CLONG', text: `${send(`Before.\n\n\`\`\`js\n${code}\n\`\`\`\n\nAfter.`)}\nsay end` });
    await until('all is there', () => taken.find(({ channel, text }) => channel === 'CLONG' && text === 'end'));
    const parts = taken
      .filter(({ channel }) => channel === 'CLONG')
      .map(({ text }) => text)
      .slice(0, -1);
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) {
      expect(part.length).toBeLessThanOrEqual(40_000);
      expect((part.match(/^```/gm) ?? []).length % 2).toBe(0);
    }
    const lines = [...parts.join('\n').matchAll(/line (\d+) of code;/g)].map((match) => Number(match[1]));
    expect(lines).toEqual(Array.from({ length: 1_500 }, (_, n) => n));
    const session = scene.house.files.find('team/CLONG') ?? '';
    expect(JSON.parse(scene.house.files.ledger(session)[0]?.part_ids ?? '[]')).toHaveLength(parts.length);
  },
  PATIENT_MS,
);

verifies(
  'out/markdown',
  "one Markdown in, Slack's own markup out",
  async () => {
    const scene = stage.it;
    const taken = acceptEverything(scene.mock);
    await scene.says({
      chat: 'CMARK',
      text: `${send('**bold** _it_ ~~gone~~ [site](https://example.com/a?b=1&c) `x < y`\n\n# Title\n\n- item & 1 < 2')}\nsay end`,
    });
    const post = await until('it is there', () => taken.find(({ channel, text }) => channel === 'CMARK' && text.includes('bold')));
    expect(post.text).toContain('*bold* _it_ ~gone~ <https://example.com/a?b=1&amp;c|site> `x &lt; y`');
    expect(post.text).toContain('*Title*');
    expect(post.text).toContain('item &amp; 1 &lt; 2');
  },
  PATIENT_MS,
);

verifies(
  'out/permission-checked',
  'an agent reaches the chat it was asked in and its own Destinations, and nothing else, whatever its file says',
  async () => {
    const scene = stage.it;
    const { files } = scene.house;
    const taken = acceptEverything(scene.mock);
    await scene.says({ chat: 'CASK', text: `${send('hello lobby', 'lobby')}\n${send('hello vault', 'vault')}\nsay {result}` });
    await until('the lobby has it', () => taken.find(({ channel, text }) => channel === 'CLOBBY' && text === 'hello lobby'));
    const answer = await until('the agent is told', () => taken.find(({ channel }) => channel === 'CASK'));
    expect(answer.text).toMatch(/vault/);
    // A runner that the agent has taken over writes its rows itself.
    const session = files.find('team/CASK') ?? '';
    const db = new Sqlite(`${files.paths(session).out}/outbound.db`, { timeout: 5_000 });
    const insert = db.prepare(
      "INSERT INTO messages_out (seq, id, kind, destination, in_reply_to, content, created_at) VALUES (?, ?, 'chat', ?, ?, ?, 0)",
    );
    insert.run(90_001, 'x/1', 'vault', null, '{"text":"stolen 1"}');
    insert.run(90_003, 'x/2', 'team/CVAULT', null, '{"text":"stolen 2"}');
    insert.run(90_005, 'x/3', null, 88_888, '{"text":"stolen 3"}');
    db.prepare("INSERT INTO messages_out (seq, id, kind, destination, content, created_at) VALUES (90007, 'x/4', 'file', NULL, ?, 0)").run(
      JSON.stringify({ path: '../in/inbound.db', name: 'x', mimeType: 'text/plain', sizeBytes: 10 }),
    );
    db.close();
    await until(
      'all four are set aside',
      () => files.ledger(session).filter(({ seq, state }) => seq > 90_000 && seq % 2 === 1 && state === 'dead').length === 4,
    );
    expect(taken.filter(({ text, channel }) => channel === 'CVAULT' || text.includes('stolen'))).toEqual([]);
  },
  PATIENT_MS,
);
