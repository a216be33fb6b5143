/** A real browser, where the machine has one: Debian's chromium, Chrome, or the one that CHROMIUM names. */
import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PLACES = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** undefined: there is none. */
export const browserPath: string | undefined = PLACES.find((place) => place !== undefined && existsSync(place));

export function openBrowser(): Promise<Browser> {
  if (browserPath === undefined) throw new Error('this machine has no browser: install chromium, or name one in CHROMIUM');
  // Its own sandbox wants rights that containers do not have; it opens nothing but our page.
  return chromium.launch({ executablePath: browserPath, args: ['--no-sandbox'] });
}
