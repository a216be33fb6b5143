import { SlackShaped } from './slack-shaped.ts';
import { demoAgent } from '../harness/objects.ts';
import { slackChats } from '../harness/slack-house.ts';
import { summarise, printTable, percentile } from './sample.ts';
const slack = await SlackShaped.start();
const house = await slack.house({ ...demoAgent('helper', { limits: { maxAwake: 2 } }), ...slackChats() }, { env: process.argv[2]==='prof' ? { NODE_OPTIONS: '--cpu-prof --cpu-prof-dir=/tmp/e2e-mine/bprof --cpu-prof-interval 200' }:{} });
await slack.connected(house);
await slack.say(house, 'CFIRST', 'hello');
for (let round=0; round<3; round++) { const a: number[]=[]; const t=performance.now();
await Promise.all(Array.from({length:100}, async (_,c)=>{ for(let n=0;n<10;n++) a.push(await slack.say(house,`C${c}`,`say ${round}/${c}/${n}.`)); }));
console.log('round', round, 's', ((performance.now()-t)/1000).toFixed(2), 'p95', percentile(a,.95).toFixed(0)); printTable([summarise('ack','ms',a)]); await new Promise(r=>setTimeout(r,3000)); }
await house.stop(); await house.dispose(); process.exit(0);
