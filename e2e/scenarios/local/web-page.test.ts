import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { browserPath, openBrowser } from '../../harness/browser.ts';
import { localStage, PATIENT_MS } from '../../harness/stage.ts';
import { until } from '../../harness/until.ts';
import { verifies } from '../../verifies.ts';

const WAIT = { timeout: 60_000 };

/** What the page showed at a moment. */
interface Shown {
  /** answers that do not grow any more */
  readonly whole: number;
  readonly partial: string;
  readonly activity: string;
}

if (browserPath === undefined)
  test.skip('the page of the web chat is used where there is a browser (CHROMIUM names one) [chan/local]', () => {});
else {
  const stage = localStage();
  let browser: Browser | undefined;
  beforeAll(async () => {
    browser = await openBrowser();
  }, PATIENT_MS);
  afterAll(() => browser?.close(), PATIENT_MS);

  /** A page of its own on this chat. `problems`: everything that its console complained of. */
  async function open(chat: string): Promise<{ readonly page: Page; readonly problems: string[] }> {
    if (browser === undefined) throw new Error('the browser has not been started');
    const page = await browser.newPage({ viewport: { width: 1000, height: 760 } });
    const problems: string[] = [];
    page.on('pageerror', ({ message }) => problems.push(message));
    page.on('dialog', (dialog) => problems.push(`a dialog: ${dialog.message()}`));
    await page.goto(`${stage.it.url}/chat/${chat}#token=${stage.it.token}`);
    return { page, problems };
  }
  async function say(page: Page, text: string): Promise<void> {
    await page.fill('#text', text);
    await page.press('#text', 'Enter');
  }
  /** From now on the page keeps what it shows for a moment only: a browser on a busy machine shows it to us too late. */
  async function remember(page: Page): Promise<void> {
    await page.evaluate(`globalThis.shown = []; new MutationObserver(() => {
      const textOf = (selector) => document.querySelector(selector)?.textContent ?? '';
      const whole = document.querySelectorAll('.m.out:not(.partial)').length;
      shown.push({ whole, partial: textOf('.m.partial'), activity: textOf('#activity') });
    }).observe(document.body, { subtree: true, childList: true, characterData: true });`);
  }
  const showed = (page: Page, matching: (shown: Shown) => boolean): Promise<boolean> =>
    until('the page showed it', async () => (await page.evaluate<Shown[]>('shown')).some(matching), WAIT.timeout);
  const answers = (page: Page): Promise<string[]> => page.locator('.m.out').allTextContents();
  const answered = (page: Page, text: string): Promise<void> => page.locator('.m.out', { hasText: text }).last().waitFor(WAIT);

  verifies(
    'chan/local',
    'in a browser: what the agent writes is text and never code, a tool is named while it runs, and the keyboard is enough',
    async () => {
      const { page, problems } = await open('page-1');
      await say(page, 'say **bold** <img src=x onerror=alert(1)>\nsay [x](javascript:alert(2)) <script>alert(3)</script>');
      await answered(page, 'onerror=alert(1)');
      expect(await page.locator('.m.out strong').textContent()).toBe('bold');
      expect(await page.locator('#log :is(img, script, a)').count()).toBe(0);
      await remember(page);
      await say(page, 'tool exec {"command":"sleep 1"}\nsay slept');
      await showed(page, ({ activity }) => activity.includes('using exec'));
      await answered(page, 'slept');
      const rows = Array.from({ length: 40 }, (_, n) => `say | ${n} | x |`).join('\n');
      await say(page, `say Behind a line:\nsay | a | b |\nsay |---|---|\n${rows}`);
      await page.locator('.m.out td', { hasText: '39' }).waitFor(WAIT);
      expect(await page.locator('.m.out th').allTextContents()).toEqual(['a', 'b']);
      // The end stays in view when the files that wait to be sent take their room from the log.
      await page.setInputFiles('#picker', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('a') });
      await page.locator('#files li').waitFor(WAIT);
      await until('the end is in view', () => page.evaluate<boolean>('log.scrollHeight - log.scrollTop - log.clientHeight < 2'));
      expect(problems).toEqual([]);
      await page.close();
    },
    PATIENT_MS,
  );

  verifies(
    'chan/local',
    'in a browser: a question is answered by its button, and shows who chose what in every page of the chat, after a reload too',
    async () => {
      const { page, problems } = await open('page-4');
      await say(
        page,
        'tool ask_user_question {"title":"Colour","question":"Which **one**?","options":["Red","<b>Blue"]}\nsay done: {result}',
      );
      const other = await open('page-4');
      for (const each of [page, other.page]) await each.locator('.options button:enabled', { hasText: 'Red' }).waitFor(WAIT);
      await page.click('.options button:has-text("<b>Blue")', WAIT);
      await answered(page, 'chose: <b>Blue');
      await other.page.reload();
      for (const each of [page, other.page]) {
        await each.locator('.answered', { hasText: 'chose “<b>Blue”' }).waitFor(WAIT);
        expect(await each.locator('.options button:enabled').count()).toBe(0);
        expect(await each.locator('.options [aria-pressed=true]').allTextContents()).toEqual(['<b>Blue']);
      }
      const card = { title: 'Build', fields: [{ label: 'Time', value: '3 s' }], links: [{ label: 'Log', url: 'https://ci.example/7' }] };
      await say(page, `tool send_card ${JSON.stringify(card)}\nsay sent`);
      await answered(page, 'sent');
      expect(await page.locator('.m.card').last().textContent()).toBe('BuildTime3 sLog');
      expect([...problems, ...other.problems]).toEqual([]);
      await page.close();
      await other.page.close();
    },
    PATIENT_MS,
  );

  verifies(
    'chan/local',
    'in a browser: an answer grows where it will stand, below what the turn sent before it',
    async () => {
      const { page, problems } = await open('page-growing');
      const text = Array.from({ length: 40 }, (_, n) => `word${n}`).join(' ');
      await remember(page);
      await say(page, `tool exec {"command":"echo hi > f.txt"}\ntool send_file {"path":"f.txt"}\nstream slowly ${text}`);
      await showed(page, ({ partial, whole }) => partial.includes('word3') && whole < 2);
      await answered(page, 'word39');
      await page.locator('.m.partial').waitFor({ state: 'detached', ...WAIT });
      expect(await answers(page)).toEqual([expect.stringContaining('f.txt'), text]);
      expect(problems).toEqual([]);
      await page.close();
    },
    PATIENT_MS,
  );

  verifies(
    'chan/local',
    'in a browser: a file goes to the agent and one comes back byte by byte, and what is too large is told before it is sent',
    async () => {
      const { page, problems } = await open('page-2');
      const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, n) => n % 251));
      await page.setInputFiles('#picker', [
        { name: 'Übung 1.bin', mimeType: 'application/octet-stream', buffer: bytes },
        { name: 'huge.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(25 * 2 ** 20 + 1) },
      ]);
      await page.locator('#files li.failed', { hasText: 'takes files of up to 25 MB' }).waitFor(WAIT);
      await page.locator('#send:enabled').waitFor(WAIT);
      await say(
        page,
        `tool exec ${JSON.stringify({ command: "find .. -name '*bung*' -exec cp {} back.bin ';'" })}\ntool send_file {"path":"back.bin"}\nsay {result}`,
      );
      await page.locator('.m.in .file', { hasText: 'Übung 1.bin' }).waitFor(WAIT);
      const chip = page.locator('.m.out .file', { hasText: 'back.bin' });
      await chip.waitFor(WAIT);
      for (const file of [chip, page.locator('.m.in .file').last()]) {
        const [download] = await Promise.all([page.waitForEvent('download', WAIT), file.click()]);
        expect(readFileSync(await download.path()).equals(bytes)).toBe(true);
      }
      expect(problems).toEqual([]);
      await page.close();
    },
    PATIENT_MS,
  );

  verifies(
    'chan/local',
    'in a browser: over a restart of everything the page goes on where it was, and shows each message once',
    async () => {
      const { page, problems } = await open('page-3');
      await say(page, 'say before');
      await answered(page, 'before');
      const { port } = new URL(stage.it.url);
      await stage.it.stop();
      await page.locator('#activity.lost').waitFor(WAIT);
      await say(page, 'say meanwhile');
      await stage.it.start(['--port', port]);
      await page.evaluate((token) => localStorage.setItem('dovecote-token', token), stage.it.token);
      // A new start of local mode has a new token, which a page that stays open cannot know.
      await page.reload();
      await answered(page, 'before');
      await say(page, 'say after');
      await answered(page, 'after');
      expect(await answers(page)).toEqual(['before', 'after']);
      expect(problems).toEqual([]);
      await page.close();
    },
    PATIENT_MS,
  );
}
