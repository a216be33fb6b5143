// Stands for a runner in the kubelet's tests: says what it was given, then does what the file `behaviour` in --workspace says.

import { spawn } from 'node:child_process';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const names = ['session', 'in', 'out', 'workspace', 'home', 'attach', 'token', 'proxy', 'proxy-token', 'listen', 'log-level'];
const { values } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: 'string' }])) });
const { workspace } = values;
appendFileSync(`${workspace}/starts`, `${process.pid}\n`);
writeFileSync(`${workspace}/report.json`, JSON.stringify({ values, env: process.env, token: readFileSync(values.token, 'utf8') }));

let behaviour = 'run';
try {
  behaviour = readFileSync(`${workspace}/behaviour`, 'utf8').trim();
} catch {}
if (behaviour.startsWith('exit ')) {
  console.error('first line\nlast words');
  process.exitCode = Number(behaviour.slice(5));
} else {
  process.on('SIGTERM', () => {
    appendFileSync(`${workspace}/signals`, 'SIGTERM\n');
    if (behaviour !== 'deaf') process.exit(0);
  });
  if (behaviour === 'parent') {
    const child = spawn('sleep', ['600'], { stdio: 'ignore' });
    writeFileSync(`${workspace}/grandchild`, String(child.pid));
  }
  setInterval(() => {}, 1_000);
  writeFileSync(`${workspace}/ready`, '');
}
