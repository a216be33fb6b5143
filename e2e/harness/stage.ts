/** A house for the tests of one file: started before the first, gone after the last. */
import { afterAll, beforeAll } from '@jest/globals';
import { LocalMode, type LocalModeOptions } from './local-mode.ts';
import { webAgent } from './objects.ts';
import { SlackHouse, type SlackHouseOptions } from './slack-house.ts';

const HOOK_MS = 300_000;
/** For `verifies`: patience for a machine that is busy with other tests, not a measure. */
export const PATIENT_MS = 300_000;

export interface Stage<T> {
  readonly it: T;
}

/** The agent `assistant` behind the web channel, unless the options say otherwise. */
export function localStage(options: Partial<LocalModeOptions> = {}): Stage<LocalMode> {
  return stage(() => LocalMode.start({ manifests: webAgent(), ...options }));
}

export function slackStage(options: SlackHouseOptions = {}): Stage<SlackHouse> {
  return stage(() => SlackHouse.start(options));
}

export function stage<T extends { dispose(): Promise<void> }>(start: () => Promise<T>): Stage<T> {
  let it: T | undefined;
  beforeAll(async () => {
    it = await start();
  }, HOOK_MS);
  afterAll(async () => {
    await it?.dispose();
  }, HOOK_MS);
  return {
    get it(): T {
      if (it === undefined) throw new Error('the stage is not set: use it inside a test');
      return it;
    },
  };
}
