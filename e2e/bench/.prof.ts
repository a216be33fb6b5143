import { SlackShaped } from './slack-shaped.ts';
import { demoAgent } from '../harness/objects.ts';
import { slackChats } from '../harness/slack-house.ts';
import { summarise, printTable } from './sample.ts';
const slack = await SlackShaped.start();
const prof = process.argv[2] === 'prof';
const house = await slack.house({ ...demoAgent('helper'), ...slackChats() }, prof ? { env: { NODE_OPTIONS: '--cpu-prof --cpu-prof-dir=/tmp/e2e-mine/prof --cpu-prof-interval 200' } } : {});
await slack.connected(house);
for (let n = 0; n < 5; n += 1) await slack.roundTrip(house, 'CWARM', `first-${n}.`);
const rs=[];
const gap = Number(process.argv[3] ?? 50);
for (let b=0;b<4;b++){ const o: number[]=[], a: number[]=[];
for (let n = 0; n < 100; n += 1) { await new Promise(r=>setTimeout(r, gap*(0.5+Math.random())));
 const w=`w-${b}-${n}.`; const t=performance.now(); a.push(await slack.say(house,'CWARM',`say ${w}`)); o.push((await slack.arrival(w))-t); }
rs.push(summarise('total '+b,'ms',o), summarise('ack '+b,'ms',a)); }
printTable(rs);
await house.stop(); await house.dispose(); process.exit(0);
