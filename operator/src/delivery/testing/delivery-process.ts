/**
 * Test program: a delivery of its own process, to be killed. Arguments: volume folder, store file, gateway address, crash point or
 * "-". Prints its address; on SIGUSR2 its greatest resident memory in bytes.
 */
import { flushCompileCache } from 'node:module';
import { Registry } from 'prom-client';
import { EmbeddedStore } from '../../kube/embedded/embedded-store.ts';
import { systemClock } from '../../lib/clock.ts';
import { crashAt, noCrash } from '../../lib/crash-point.ts';
import { silentLog } from '../../lib/log.ts';
import { systemRandom } from '../../lib/random.ts';
import { startDelivery } from '../start.ts';
import { plainReviewer, plainTokens } from './tokens.ts';

flushCompileCache(); // it will not live to do so at its end, and the next of its kind need not compile all of it again
const [, , root = '', path = '', gatewayAddress = '', point = '-'] = process.argv;
const foundation = { clock: systemClock, random: systemRandom, log: silentLog };
const delivery = await startDelivery({
  store: new EmbeddedStore({ path, namespace: 'test', ...foundation }),
  shard: '0',
  root,
  listen: '127.0.0.1:0',
  gatewayAddress,
  reviewer: plainReviewer,
  tokens: plainTokens('role:delivery'),
  ...foundation,
  registry: new Registry(),
  reached: point === '-' ? noCrash : crashAt(point),
  limits: {
    reserveBytes: 4096,
    lowSpaceBytes: 4096,
    pollMs: 1000,
    defaultAttachmentBytes: 200 * 2 ** 20,
    maxMessageAttachmentBytes: 200 * 2 ** 20,
  },
});
process.on('SIGINT', () => process.exit(0));
process.on('SIGUSR2', () => console.log(String(process.resourceUsage().maxRSS * 1024)));
console.log(delivery.address);
