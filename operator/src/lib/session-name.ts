import { createHash } from 'node:crypto';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

/**
 * The name of a session: of its object, its cell and its Pod. The same for the same agent, scope and generation, so that whoever
 * makes it twice makes one. At most 51 characters, a DNS label.
 */
export function sessionName(agentGroup: string, agentGroupUid: string, scope: string, generation: number): string {
  const digest = createHash('sha256').update(`${agentGroupUid}\0${scope}\0${generation}`).digest();
  let bits = '';
  for (const byte of digest.subarray(0, 7)) bits += byte.toString(2).padStart(8, '0');
  const hash = Array.from({ length: 10 }, (_, i) => BASE32[Number.parseInt(bits.slice(i * 5, i * 5 + 5), 2)]).join('');
  return `${stem(agentGroup)}-${hash}`;
}

/** Whether an agent's sessions are named so. Another agent's may be too, where two names begin with the same 40 characters. */
export function isSessionOf(session: string, agentGroup: string): boolean {
  return session.slice(0, -11) === stem(agentGroup) && session.at(-11) === '-';
}

function stem(agentGroup: string): string {
  return agentGroup
    .slice(0, 40)
    .replace(/[-.]+$/, '')
    .replaceAll('.', '-');
}
