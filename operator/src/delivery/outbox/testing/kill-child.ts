/** A delivery process that is to be killed: <root> <gateway address> <crash point>. Run by the tests of the crash points. */
import { flushCompileCache } from 'node:module';
import { systemClock } from '../../../lib/clock.ts';
import { crashAt } from '../../../lib/crash-point.ts';
import { openBench, SESSION } from './bench-cell.ts';

flushCompileCache(); // it will not live to do so at its end, and the next of its kind need not compile all of it again
const [root = '', address = '', point = ''] = process.argv.slice(2);
const bench = openBench({ root, address, clock: systemClock, reached: crashAt(point) });
await bench.outbox.resume(SESSION);
await bench.outbox.read(SESSION);
await systemClock.sleep(60_000, AbortSignal.timeout(60_000));
