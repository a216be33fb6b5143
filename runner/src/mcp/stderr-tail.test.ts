import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { pino } from 'pino';
import { StderrTail } from './stderr-tail.ts';

test('what a server prints of its environment is logged without the token in it', () => {
  let logged = '';
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      logged += String(chunk);
      done();
    },
  });
  const tail = new StderrTail(pino({ level: 'debug' }, stream));
  tail.add(Buffer.from('HTTP_PROXY=http://session:s3cret@proxy:8082\nready\n'));
  expect(logged).toContain('proxy:8082');
  expect(logged + tail.text()).not.toContain('s3cret');
});
