/** A process that counts in a file of the memory, as one of several conversations would. For tests only: dir, times. */
import { PathJail } from '@dovecote/proto';
import { systemClock } from '../lifecycle/clock.ts';
import { silentLog } from '../lifecycle/log.ts';
import { memoryRead } from '../tools/memory-read.ts';
import { memoryWrite } from '../tools/memory-write.ts';
import type { ToolContext } from '../tools/tool.ts';
import { Toolbox } from '../tools/toolbox.ts';

const [dir = '', times = '0'] = process.argv.slice(2);
const files = new PathJail([{ alias: '/agent', dir, writable: true }]);
const toolbox = new Toolbox([memoryRead, memoryWrite], undefined, silentLog);
const context = { files, clock: systemClock, signal: new AbortController().signal } as ToolContext;

let conflicts = 0;
for (let left = Number(times); left > 0; ) {
  const { text } = await toolbox.run('memory_read', { path: 'count.md' }, context);
  const [, etag = '', count = ''] = /^\(etag (\w+)\)\n(\d+)$/.exec(text) ?? [];
  const { isError, text: answer } = await toolbox.run(
    'memory_write',
    { path: 'count.md', content: String(Number(count) + 1), etag },
    context,
  );
  if (!isError) left -= 1;
  else if (answer.includes('was changed since you read it')) conflicts += 1;
  else throw new Error(answer);
}
process.stdout.write(String(conflicts));
