import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { LargeFiles } from '../../harness/large-files.ts';
import { demoAgent, manifest, webAgent } from '../../harness/objects.ts';
import { acceptEverything, SlackHouse, slackChats } from '../../harness/slack-house.ts';
import { PATIENT_MS, stage } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const MIB = 2 ** 20;
const scenery = stage(async () => {
  let upstream = '';
  const files = await LargeFiles.start(() => upstream);
  const scene = await SlackHouse.start({
    apiURL: `${files.url}/api/`,
    onMock: (mock) => {
      upstream = mock.url;
    },
    channel: { maxAttachmentBytes: '100Mi' },
    manifests: {
      ...demoAgent('helper'),
      ...slackChats(),
      ...webAgent(),
      ...manifest('Channel', 'web', { type: 'local', maxAttachmentBytes: '100Mi' }),
    },
  });
  return {
    files,
    scene,
    dispose: async () => {
      await scene.dispose();
      await files.close();
    },
  };
});

function file(url: string, name: string, size: number): object {
  return { id: 'F1', name, mimetype: 'application/octet-stream', size, url_private_download: `${url}/large/${size}` };
}

/** The most memory the process had at once, in bytes. */
function peak(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
}

verifies(
  'cell/attachments-safe',
  'names from outside become one harmless part of a path, what is too large is a sentence for the agent, and links are not followed on the way out',
  async () => {
    const { scene, files } = scenery.it;
    const { house } = scene;
    const names = ['../../../etc/passwd', '..', 'a\u0000b\n.txt', '.bashrc', `${'long'.repeat(100)}.pdf`];
    await scene.says({
      chat: scene.slack.chat,
      text: 'say got them',
      more: { subtype: 'file_share', files: names.map((name) => file(files.url, name, 10)) },
    });
    const session = await until('a session', () => house.files.find(`team/${scene.slack.chat}`));
    await until('the answer is there', async () => (await scene.slack.inChat()).some(({ text }) => text.includes('got them')));
    const { attachments } = JSON.parse(house.files.messages(session)[0]?.content ?? '{}') as {
      attachments: { name: string; path: string }[];
    };
    expect(attachments).toHaveLength(names.length);
    const root = join(house.files.paths(session).in, 'attachments');
    for (const { path } of attachments) {
      expect(path).toMatch(/^attachments\/\d+\/[^/\\\p{Cc}.][^/\\\p{Cc}]*$/u);
      expect(lstatSync(join(root, '..', path)).isFile()).toBe(true);
    }
    expect(new Set(attachments.map(({ path }) => path)).size).toBe(names.length);
    await scene.says({
      chat: scene.slack.chat,
      text: 'say too big',
      more: { subtype: 'file_share', files: [file(files.url, 'big.bin', 101 * MIB)] },
    });
    await until('it is answered', async () => (await scene.slack.inChat()).some(({ text }) => text.includes('too big')));
    const refused = JSON.parse(house.files.messages(session).at(-1)?.content ?? '{}') as {
      attachments?: unknown[];
      attachmentErrors: string[];
    };
    expect(refused.attachments ?? []).toEqual([]);
    expect(refused.attachmentErrors).toEqual([expect.stringMatching(/big\.bin.*(large|limit|MiB)/)]);
    // Outward: a link to a file of the machine is not sent, neither by the tool nor by whoever writes the outbox himself.
    const { workspace } = house.files.paths(session);
    mkdirSync(workspace, { recursive: true });
    symlinkSync('/etc/passwd', join(workspace, 'innocent.txt'));
    await scene.says({ chat: scene.slack.chat, text: 'tool send_file {"path":"innocent.txt"}\nsay said: {result}' });
    const answer = await until('the tool has answered', async () =>
      (await scene.slack.inChat()).find(({ text }) => text.includes('said: ')),
    );
    expect(answer.text).not.toContain('root:');
    expect(house.files.written(session).filter(({ kind }) => kind === 'file')).toEqual([]);
    expect(readdirSync(workspace)).toContain('innocent.txt');
  },
  PATIENT_MS,
);

verifies(
  'cell/streamed-attachments',
  'a message with 100 MiB, in and out, never lies in memory as a whole',
  async () => {
    const { scene, files } = scenery.it;
    const { house } = scene;
    acceptEverything(scene.mock);
    // What a quarter of it takes: buffers, code that runs for the first time, garbage.
    await scene.says({
      chat: 'CSMALL',
      text: 'say small',
      more: { subtype: 'file_share', files: [file(files.url, 'small.bin', 25 * MIB)] },
    });
    await until('it is answered', () => scene.posted().find(({ text }) => text.includes('small')));
    const quarter = peak(house.pid);
    // Slack waits for three seconds only and comes again: the same event, until it is stored.
    const { body } = scene.event({
      chat: 'CLARGE',
      text: 'say large',
      more: { subtype: 'file_share', files: [file(files.url, 'large.bin', 100 * MIB)] },
    });
    await until('it is stored', async () => (await scene.post(body, scene.slack.signature(body))) === 200, 90_000);
    const session = house.files.find('team/CLARGE') ?? '';
    const { attachments } = JSON.parse(house.files.messages(session)[0]?.content ?? '{}') as {
      attachments: { path: string; sizeBytes: number; sha256: string }[];
    };
    expect(attachments).toMatchObject([
      {
        sizeBytes: 100 * MIB,
        sha256: createHash('sha256')
          .update(Buffer.alloc(100 * MIB, 'x'))
          .digest('hex'),
      },
    ]);
    expect(statSync(join(house.files.paths(session).in, attachments[0]?.path ?? '')).size).toBe(100 * MIB);
    expect(house.files.messages(session)).toHaveLength(1);
    expect(peak(house.pid) - quarter).toBeLessThan(60 * MIB);

    const chat = house.chat();
    // Outward a file may have 25 MiB: four of them.
    const send = Array.from({ length: 4 }, (_, n) => `tool send_file {"path":"large.bin","name":"large-${n}.bin"}`).join('\n');
    await chat.send(`tool exec {"command":"head -c 26214400 /dev/zero > large.bin"}\n${send}\nsay sent`);
    await chat.answer('sent');
    expect(chat.rows().filter(({ kind, state }) => kind === 'file' && state === 'delivered')).toHaveLength(4);
    expect(peak(house.pid) - quarter).toBeLessThan(60 * MIB);
  },
  PATIENT_MS,
);
