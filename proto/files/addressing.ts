/** How a call of ContainerService names whom it is for, and shows whom it is from. */

/** Metadata of calls to delivery: the session that is meant. */
export const SESSION_HEADER = 'x-dovecote-session';
/** Metadata of calls to a runner: the secret that delivery gave it over Attach. */
export const CALLER_HEADER = 'x-dovecote-caller';
/** The name in every runner's certificate. A caller pins the certificate itself and expects this name, whatever the Pod's address. */
export const CERTIFICATE_NAME = 'dovecote-session';
/** Metadata of a NOT_FOUND of delivery's: the session has no cell on this shard. Another shard may have it. */
export const SESSION_MISSING_HEADER = 'x-dovecote-session-missing';
