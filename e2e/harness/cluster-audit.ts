/** The API server's own account of who asked what of it. */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { fact, NAMESPACE, RELEASE } from './cluster.ts';

export interface ApiCall {
  /** our role: controller, gateway, delivery, proxy; else the user's name */
  readonly by: string;
  /** the Pod from which it was asked; '' for callers that are no Pod */
  readonly pod: string;
  readonly verb: string;
  /** `sessions`, `sessions/status`, `pods` … */
  readonly resource: string;
  readonly name: string;
  readonly code: number;
  /** ISO time of the answer */
  readonly at: string;
}

interface AuditEvent {
  readonly stage: string;
  readonly verb: string;
  readonly user: { readonly username: string; readonly extra?: Readonly<Record<string, readonly string[]>> };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string; readonly namespace?: string; readonly name?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly stageTimestamp: string;
}

/** False where nobody can read the audit log, as on most clusters of others. */
export const auditReadable = (): boolean => process.env['CLUSTER_AUDIT_LOG'] !== undefined && existsSync(process.env['CLUSTER_AUDIT_LOG']);

/** A place in the audit log: what follows it happened later. */
export const auditMark = (): number => statSync(fact('CLUSTER_AUDIT_LOG')).size;

/** The calls in our namespace (and those of no namespace, such as token reviews) since `mark`, Leases apart. */
export function callsSince(mark: number): readonly ApiCall[] {
  const path = fact('CLUSTER_AUDIT_LOG');
  const length = statSync(path).size - mark;
  const bytes = Buffer.alloc(length);
  const file = openSync(path, 'r');
  readSync(file, bytes, 0, length, mark);
  closeSync(file);
  return bytes
    .toString('utf8')
    .split('\n')
    .flatMap((line) => {
      if (!line.endsWith('}')) return []; // empty, or being written
      const event = JSON.parse(line) as AuditEvent;
      const { resource = '', subresource, namespace, name = '' } = event.objectRef ?? {};
      if (event.stage !== 'ResponseComplete' || resource === 'leases') return [];
      if (namespace !== undefined && namespace !== NAMESPACE) return [];
      return [
        {
          by: event.user.username.replace(`system:serviceaccount:${NAMESPACE}:${RELEASE}-`, ''),
          pod: event.user.extra?.['authentication.kubernetes.io/pod-name']?.[0] ?? '',
          verb: event.verb,
          resource: subresource === undefined ? resource : `${resource}/${subresource}`,
          name,
          code: event.responseStatus?.code ?? 0,
          at: event.stageTimestamp,
        },
      ];
    });
}

const WRITES = new Set(['create', 'update', 'patch', 'delete', 'deletecollection']);
export const isWrite = ({ verb }: ApiCall): boolean => WRITES.has(verb);
const ROLES = new Set(['controller', 'gateway', 'delivery', 'proxy']);
/** Of one of our processes. */
export const isOurs = ({ by }: ApiCall): boolean => ROLES.has(by);
