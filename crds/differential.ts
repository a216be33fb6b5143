// Writes random objects to a real API server, as dry runs, and to admit(), and fails where they differ: in verdict, in what would be stored, or in
// a single message. Run it after a change to admit() or to the words of schema.ts, with the CRDs applied to a server that nobody needs:
//   kubectl proxy --port 8011 &  node crds/differential.ts http://127.0.0.1:8011 [runs per kind] [seed]
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { schemaOf } from './src/crd.ts';
import { API_VERSION, admit, admitStatus, type Kind, kinds, parseSpec } from './src/index.ts';
import { specimen } from './src/specimen.ts';
import { isObject, type JsonObject } from './src/structural.ts';

interface Cause {
  field: string;
  reason: string;
  message: string;
}
interface Answer {
  code: number;
  body: JsonObject & { message?: string; details?: { causes?: Cause[] }; items?: JsonObject[] };
}
/** Kept small: the point is to compare answers, not to load the server. */
const PARALLEL = 8;

const call = async (url: string, method = 'GET', body?: unknown): Promise<Answer> => {
  const init = { method, headers: { 'content-type': 'application/json' } };
  const response = await fetch(url, body === undefined ? init : { ...init, body: JSON.stringify(body) });
  return { code: response.status, body: (await response.json()) as Answer['body'] };
};

const lines = (causes: readonly Cause[]): string[] => [...new Set(causes.map((c) => `${c.field} | ${c.reason} | ${c.message}`))].sort();

/** How an answer differs from what admit() says; undefined if it does not. */
const difference = (kind: Kind, answer: Answer, mine: ReturnType<typeof admit>): string | undefined => {
  const { body } = answer;
  if (answer.code >= 300 && mine.failures.length === 0) return `only the API server refuses: ${body.message}`;
  if (answer.code >= 300) {
    const unknown = `strict decoding error: ${mine.failures.map((f) => f.message).join(', ')}`;
    if (answer.code === 400) return body.message?.endsWith(unknown) === true ? undefined : `${body.message} is not: ${unknown}`;
    const theirs = lines(body.details?.causes ?? []);
    const ours = lines(mine.failures.map(({ field, type, message }) => ({ field, reason: type, message })));
    return isDeepStrictEqual(theirs, ours) ? undefined : `messages: ${JSON.stringify({ theirs, ours })}`;
  }
  if (mine.failures.length > 0) return `only admit() refuses: ${JSON.stringify(mine.failures)}`;
  for (const part of ['spec', 'status']) {
    if (!isDeepStrictEqual(body[part], mine.object[part])) return `stored ${part}: ${JSON.stringify([body[part], mine.object[part]])}`;
  }
  if (!isDeepStrictEqual(parseSpec(kind, body['spec']), body['spec'])) return 'zod changes the spec';
  return isDeepStrictEqual(kind.status.optional().parse(body['status']), body['status']) ? undefined : 'zod changes the status';
};

const draw = (schema: Parameters<typeof specimen>[0], count: number, seed: number): unknown[] =>
  JSON.parse(JSON.stringify(fc.sample(specimen(schema), { numRuns: count, seed }))) as unknown[];

const compare = async (server: string, kind: Kind, runs: number, seed: number): Promise<string[]> => {
  const url = `${server}/apis/${API_VERSION}/namespaces/default/${kind.plural}`;
  const { spec = {}, status = {} } = schemaOf(kind).properties ?? {};
  const object = (name: string, written: unknown): JsonObject => ({
    apiVersion: API_VERSION,
    kind: kind.kind,
    metadata: { name, namespace: 'default' },
    spec: written,
  });

  // A few stored objects to update.
  const names = ['differential-0', 'differential-1', 'differential-2'];
  for (const [i, written] of draw(spec, 200, seed).entries()) {
    if (admit(kind, object('x', written)).failures.length === 0) await call(url, 'POST', object(names[i % names.length] ?? 'x', written));
  }
  const stored = ((await call(url)).body.items ?? []).filter((item) => names.includes(String((item['metadata'] as JsonObject)['name'])));

  const one = async (i: number, written: unknown, reported: unknown): Promise<string | undefined> => {
    const old = stored[i % Math.max(stored.length, 1)];
    const [mode, query] = [i % 3, '?dryRun=All&fieldValidation=Strict'];
    if (mode === 0 || old === undefined) {
      return difference(kind, await call(url + query, 'POST', object('new', written)), admit(kind, object('new', written)));
    }
    const { name, resourceVersion } = old['metadata'] as Record<string, string>;
    const head = { ...object(name ?? '', old['spec']), metadata: { name, namespace: 'default', resourceVersion } };
    if (mode === 1) {
      const kept =
        isObject(written) && i % 2 === 0
          ? { ...written, ...(old['spec'] as JsonObject), ...Object.fromEntries(Object.entries(written).slice(0, 2)) }
          : written;
      return difference(
        kind,
        await call(`${url}/${name}${query}`, 'PUT', { ...head, spec: kept }),
        admit(kind, { ...head, spec: kept }, old),
      );
    }
    const next = { ...head, status: reported };
    return difference(kind, await call(`${url}/${name}/status${query}`, 'PUT', next), admitStatus(kind, next, old));
  };

  const specs = draw(spec, runs, seed + 1);
  const statuses = draw(status, runs, seed + 2);
  const found: string[] = [];
  for (let from = 0; from < runs; from += PARALLEL) {
    const batch = specs.slice(from, from + PARALLEL).map(async (written, j) => {
      const wrong = await one(from + j, written, statuses[from + j]);
      if (wrong !== undefined) found.push(`${kind.kind} run ${from + j}: ${wrong} for ${JSON.stringify([written, statuses[from + j]])}`);
    });
    await Promise.all(batch);
  }
  for (const name of names) await call(`${url}/${name}`, 'DELETE');
  return found;
};

const [server, runs = '1000', seed = '1'] = process.argv.slice(2);
if (server === undefined) throw new Error('usage: node crds/differential.ts <URL of kubectl proxy> [runs per kind] [seed]');
let differences = 0;
for (const kind of kinds) {
  const found = await compare(server, kind, Number(runs), Number(seed));
  differences += found.length;
  for (const line of found.slice(0, 5)) console.error(line);
  console.log(`${kind.kind}: ${runs} writes, ${found.length} differences`);
}
if (differences > 0) process.exitCode = 1;
