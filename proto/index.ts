/** The contracts between processes: gRPC messages (generated) and the two SQLite files of a cell. Imports nothing of ours. */
export * from './cell/inbound.ts';
export * from './cell/migrate.ts';
export * from './cell/open.ts';
export * from './cell/outbound.ts';
export * from './cell/paths.ts';
export * as agent from './gen/dovecote/v1/agent.ts';
export * as attach from './gen/dovecote/v1/attach.ts';
export * as containerService from './gen/dovecote/v1/container_service.ts';
export * as inbox from './gen/dovecote/v1/inbox.ts';
export * as platform from './gen/dovecote/v1/platform.ts';
export * as sessions from './gen/dovecote/v1/sessions.ts';
export * as usage from './gen/dovecote/v1/usage.ts';
