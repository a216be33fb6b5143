import { SlackShaped } from './slack-shaped.ts';
import { demoAgent } from '../harness/objects.ts';
import { slackChats } from '../harness/slack-house.ts';
const slack = await SlackShaped.start();
const house = await slack.house({ ...demoAgent('helper'), ...slackChats() });
await slack.connected(house);
for (let n = 0; n < 50; n += 1) await slack.roundTrip(house, 'CWARM', `first-${n}.`);
const T = performance.timeOrigin;
const s = new Map<string,{t:number,ack:number,arr:number}>();
for (let n = 0; n < 300; n += 1) { await new Promise(r=>setTimeout(r, 30+Math.random()*40));
 const w=`w-${n}.`; const t=performance.now(); const ack=await slack.say(house,'CWARM',`say ${w}`); s.set(w,{t:T+t,ack,arr:T+await slack.arrival(w)}); }
const f=house.files; const session=f.sessions()[0]!;
const led=new Map(f.ledger(session).map(r=>[r.seq,r])); const outs=f.written(session); const hist=f.history(session);
const d: Record<string,number[]> = {};
const add=(k:string,v:number)=>(d[k]??=[]).push(v);
for (const m of f.messages(session)) { const w=/w-\d+\./.exec(m.content)?.[0]; if(!w) continue; const x=s.get(w)!; const o=outs.find(r=>r.in_reply_to===m.seq); if(!o) continue; const l=led.get(o.seq)!; const h=hist.find(r=>r.in_seq===m.seq)!; const a=hist.find(r=>r.turn_id===h.turn_id&&r.role==='assistant')!;
 add('1 send→row created_at',m.created_at+0.5-x.t); add('ack',x.ack); add('2 row→history user',h.created_at-m.created_at); add('3 →out row',o.created_at-h.created_at); add('4 →ledger row',l.created_at-o.created_at); add('5 ledger→platform',x.arr-l.created_at-0.5); add('6 ledger→record', l.updated_at-l.created_at); add('total',x.arr-x.t);}
for (const k of Object.keys(d).sort()) { const v=d[k]!.sort((a,b)=>a-b); console.log(k.padEnd(24), 'mean',(v.reduce((a,b)=>a+b,0)/v.length).toFixed(2),'p50',v[v.length>>1]!.toFixed(2),'p90',v[Math.floor(v.length*.9)]!.toFixed(2)); }
await house.dispose(); process.exit(0);
