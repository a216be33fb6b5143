import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { EmbeddedStore } from '../kube/embedded/embedded-store.ts';
import { agentGroups, secrets } from '../kube/resource-types.ts';
import { systemClock } from '../lib/clock.ts';
import { silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { applyManifests, parseManifests, readManifests } from './manifests.ts';
import { collectSecrets, withSecrets } from './secrets.ts';
import { LocalTokens } from './tokens.ts';

const stores: EmbeddedStore[] = [];
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});
function emptyStore(): EmbeddedStore {
  const store = new EmbeddedStore({ path: ':memory:', namespace: 'local', clock: systemClock, random: systemRandom, log: silentLog });
  stores.push(store);
  return store;
}

const agent = (name: string, spec = 'provider: { type: demo }'): string =>
  `apiVersion: dovecote.dev/v1alpha1\nkind: AgentGroup\nmetadata: { name: ${name} }\nspec: { ${spec} }\n`;

describe('a folder of manifests', () => {
  test('is applied, and what a later start no longer declares is deleted', async () => {
    const store = emptyStore();
    await applyManifests(store, parseManifests(`${agent('one')}---\n${agent('two')}`, 'a.yaml'));
    await applyManifests(store, parseManifests(agent('two'), 'a.yaml'));
    expect((await store.list(agentGroups)).items.map(({ metadata }) => metadata.name)).toEqual(['two']);
  });

  test('that is wrong is refused with the file and the sentence of the API server', async () => {
    const wrong = parseManifests(agent('one', 'provider: { type: anthropic }'), 'wrong.yaml');
    await expect(applyManifests(emptyStore(), wrong)).rejects.toThrow(
      'wrong.yaml: AgentGroup.dovecote.dev "one" is invalid: spec.provider.anthropic: Required value: must be set when type is \'anthropic\'',
    );
  });

  test.each([
    ['broken YAML', 'a: [', /cannot read .*broken\.yaml: /],
    ['a document without a kind', 'a: 1', /every document needs apiVersion, kind and metadata\.name/],
  ])('names the file of %s', (_, text, sentence) => {
    const folder = mkdtempSync(join(tmpdir(), 'manifests-'));
    writeFileSync(join(folder, 'broken.yaml'), text);
    expect(() => readManifests(folder)).toThrow(sentence);
  });

  test('with a kind that local mode cannot have is refused', async () => {
    const pod = parseManifests('apiVersion: v1\nkind: Pod\nmetadata: { name: x }\n', 'pod.yaml');
    await expect(applyManifests(emptyStore(), pod)).rejects.toThrow('cannot apply Pod x of pod.yaml');
  });

  test('that is no folder is said to be none', () => {
    expect(() => readManifests('/nowhere/at/all')).toThrow('cannot read manifests: /nowhere/at/all is not a folder');
  });
});

describe('secrets of local mode', () => {
  test('come from manifests and the environment, and are read like any Secret', async () => {
    const manifests = parseManifests(
      'apiVersion: v1\nkind: Secret\nmetadata: { name: slack }\nstringData: { bot-token: xoxb }\n',
      's.yaml',
    );
    const store = withSecrets(
      emptyStore(),
      collectSecrets(manifests, { ANTHROPIC_API_KEY: 'key', DOVECOTE_SECRET_MY_BOT__BOT_TOKEN: 'tok' }),
    );
    const read = async (name: string, key: string): Promise<string> =>
      Buffer.from((await store.get(secrets, name))?.data?.[key] ?? '', 'base64').toString();
    expect(await read('slack', 'bot-token')).toBe('xoxb');
    expect(await read('anthropic', 'api-key')).toBe('key');
    expect(await read('my-bot', 'bot-token')).toBe('tok');
    expect(await store.get(secrets, 'none')).toBeUndefined();
  });

  test('are never in the file of the store', async () => {
    const embedded = emptyStore();
    withSecrets(embedded, new Map([['slack', new Map([['bot-token', 'xoxb']])]]));
    expect((await embedded.list(secrets)).items).toEqual([]);
  });
});

describe('tokens of local mode', () => {
  const clock = { now: () => 1_000 };
  const tokens = new LocalTokens(Buffer.alloc(32, 1), clock);
  const session = { type: 'session', session: 's', podUid: 'u' } as const;

  test('open the door that they were made for, and no other', async () => {
    const token = tokens.issue(session, 'dovecote-delivery');
    expect(await tokens.review(token, 'dovecote-delivery')).toEqual({ ...session, expiresAt: 3_601_000 });
    expect(await tokens.review(token, 'dovecote-proxy')).toBeUndefined();
  });

  test('end after an hour, also those that were found to be right before; the roles have new ones by then', async () => {
    let now = 0;
    const aging = new LocalTokens(Buffer.alloc(32, 1), { now: () => now });
    const token = aging.issue(session, 'dovecote-proxy');
    const source = aging.sourceFor('proxy');
    const first = await source.token('dovecote-delivery');
    expect(await aging.review(token, 'dovecote-proxy')).toMatchObject(session);
    now = 3_599_999;
    expect(await aging.review(token, 'dovecote-proxy')).toMatchObject(session);
    const second = await source.token('dovecote-delivery');
    now = 3_600_000;
    expect(await aging.review(token, 'dovecote-proxy')).toBeUndefined();
    expect(await aging.review(first, 'dovecote-delivery')).toBeUndefined();
    expect(await aging.review(second, 'dovecote-delivery')).toEqual({ type: 'role', role: 'proxy' });
    // Whoever moves the end of a token breaks its signature.
    const [body = '', signature = ''] = token.split('.');
    const claims = { ...(JSON.parse(Buffer.from(body, 'base64url').toString()) as object), expiresAt: 9e15 };
    expect(
      await aging.review(`${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`, 'dovecote-proxy'),
    ).toBeUndefined();
  });

  test.each([
    ['of another process', new LocalTokens(Buffer.alloc(32, 2), clock).issue(session, 'dovecote-delivery')],
    [
      'with another claim',
      `${Buffer.from(JSON.stringify({ caller: { type: 'role', role: 'gateway' }, audience: 'dovecote-delivery' })).toString('base64url')}.${tokens.issue(session, 'dovecote-delivery').split('.')[1]}`,
    ],
    ['without a signature', tokens.issue(session, 'dovecote-delivery').split('.')[0] ?? ''],
    ['that is empty', ''],
  ])('%s open nothing', async (_, token) => {
    expect(await tokens.review(token, 'dovecote-delivery')).toBeUndefined();
  });
});
