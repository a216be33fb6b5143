import { attach, type sessions } from '@dovecote/proto';
import type { WakeState } from '../wake/wake.ts';

/** What a session does right now, in one word and a detail for people. Pure. */
export function activityOf(
  session: string,
  now: { readonly state: WakeState; readonly queuePosition: number; readonly progress: attach.Progress | undefined },
): sessions.Activity {
  const say = (state: string, detail = ''): sessions.Activity => ({ session, state, detail, queuePosition: now.queuePosition });
  if (now.state === 'Queued') return say('Queued');
  if (now.state === 'Waking') return say('Waking');
  switch (now.state === 'Awake' || now.state === 'Draining' ? now.progress?.phase : undefined) {
    case attach.Progress_Phase.TURN:
    case attach.Progress_Phase.WAITING: {
      const activity = now.progress?.activity ?? '';
      return activity === '' || activity === 'model' ? say('Thinking') : say('Tool', activity);
    }
    default:
      return say('Idle');
  }
}
