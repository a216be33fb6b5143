import type { attach } from '@dovecote/proto';

/** The turn stands still until somebody answers: nobody types, and the question itself says what it waits for. */
export function waitsForPerson({ activity }: attach.Progress): boolean {
  return activity === 'ask_user_question';
}
