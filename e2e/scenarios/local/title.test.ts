import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

verifies(
  'turn/title',
  'a conversation is called by its first line at once, and by its model soon after; it keeps that name, and another message changes nothing',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.send(
      `\n  ${'What do pigeons eat? '.repeat(9)}\ntitle The food of pigeons\ntool exec {"command":"while [ ! -e go ]; do sleep 0.05; done"}\nsay seeds`,
    );
    const session = await chat.session();
    const title = async (): Promise<string | undefined> => {
      const { sessions } = await house.json<{ sessions: { session: string; title: string }[] }>('/api/sessions');
      return sessions.find((one) => one.session === session)?.title;
    };
    const inFile = (): string | null | undefined =>
      house.files.inbound<{ title: string | null }>(session, 'SELECT title FROM meta')[0]?.title;
    // Stored with the message itself; the model's own may be quicker than this look.
    expect(['The food of pigeons', expect.stringMatching(/^What do pigeons eat\? .{40,60}…$/)]).toContainEqual(inFile());
    await until('the model has named it, while its first turn still runs', async () => (await title()) === 'The food of pigeons');
    expect(inFile()).toBe('The food of pigeons');
    expect(chat.answers()).toEqual([]);
    writeFileSync(join(house.files.paths(session).workspace, 'go'), '');
    await chat.answer('seeds');
    await chat.ask('title Something else\nsay more', 'more');
    await house.restart();
    await until('it has its title again', async () => (await title()) === 'The food of pigeons');
    const named = house.files.outbound<{ usage: string }>(session, "SELECT usage FROM history WHERE turn_id LIKE '%/title'");
    expect(named).toHaveLength(1);
  },
  PATIENT_MS,
);
