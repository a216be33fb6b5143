import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { expect } from '@jest/globals';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { verifies } from '../../verifies.ts';

const stage = localStage();

/** Ways in which a process has a file open: r, w or rw, each once. */
function modes(pid: number, name: string): string[] {
  const found = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      if (!readlinkSync(`/proc/${pid}/fd/${fd}`).endsWith(name)) return [];
      const flags = Number.parseInt(/^flags:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '', 8);
      return [['r', 'w', 'rw'][flags & 3] ?? '?'];
    } catch {
      return []; // closed meanwhile
    }
  });
  return [...new Set(found)].sort();
}

verifies(
  'cell/two-files-one-writer',
  'the host has outbound.db open for reading only, the runner inbound.db for reading only',
  async () => {
    const house = stage.it;
    const chat = house.chat();
    await chat.ask('say hi', 'hi');
    const session = await chat.session();
    const runner = await house.runner(session);
    expect(modes(house.pid, `${session}/out/outbound.db`)).toEqual(['r']);
    expect(modes(house.pid, `${session}/in/inbound.db`)).toContain('rw');
    expect(modes(runner, `${session}/in/inbound.db`)).toEqual(['r']);
    expect(modes(runner, `${session}/out/outbound.db`)).toContain('rw');
  },
  PATIENT_MS,
);

verifies(
  'cell/seq-parity',
  'what the host writes has even numbers, what the runner writes odd ones, and no number is used twice over both files',
  async () => {
    const { files } = stage.it;
    const chat = stage.it.chat();
    await chat.ask('tool send_message {"text":"half way"}\nsay end', 'end');
    await Promise.all([1, 2, 3, 4].map((n) => chat.send(`say answer ${n}`)));
    await chat.answer('answer 4');
    const session = await chat.session();
    const host = [
      ...files.inbound<{ seq: number }>(session, 'SELECT seq FROM messages_in'),
      ...files.inbound<{ seq: number }>(session, 'SELECT seq FROM notices'),
    ].map(({ seq }) => seq);
    const runner = files.written(session).map(({ seq }) => seq);
    expect(host.length).toBeGreaterThanOrEqual(5);
    expect(runner.length).toBeGreaterThanOrEqual(3);
    expect(host.filter((seq) => seq % 2 !== 0)).toEqual([]);
    expect(runner.filter((seq) => seq % 2 !== 1)).toEqual([]);
    expect(new Set([...host, ...runner]).size).toBe(host.length + runner.length);
    const [ddl] = files.inbound<{ sql: string }>(session, "SELECT sql FROM sqlite_schema WHERE name = 'messages_in'");
    const [other] = files.outbound<{ sql: string }>(session, "SELECT sql FROM sqlite_schema WHERE name = 'messages_out'");
    expect(ddl?.sql).toContain('CHECK (seq > 0 AND seq % 2 = 0)');
    expect(other?.sql).toContain('CHECK (seq > 0 AND seq % 2 = 1)');
  },
  PATIENT_MS,
);
