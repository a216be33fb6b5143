/** What NetworkPolicies let through, by the rules of Kubernetes: for clusters whose network does not enforce them. Knows what ours use. */

type Labels = Readonly<Record<string, string>>;
interface LabelSelector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: string }[];
}
interface Peer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string };
}
interface Rule {
  readonly to?: readonly Peer[];
  readonly from?: readonly Peer[];
  readonly ports?: readonly { readonly port?: number | string; readonly protocol?: string }[];
}
export interface Policy {
  readonly podSelector: LabelSelector;
  readonly policyTypes?: readonly string[];
  readonly ingress?: readonly Rule[];
  readonly egress?: readonly Rule[];
}

/** A Pod; without labels: an address outside of the cluster. */
export interface End {
  readonly pod?: Labels;
  /** labels of its namespace, when it is not that of the policies */
  readonly namespace?: Labels;
}

function selects({ matchLabels = {}, matchExpressions = [] }: LabelSelector, labels: Labels): boolean {
  for (const { operator } of matchExpressions)
    if (operator !== 'Exists') throw new Error(`cannot evaluate a policy: the operator ${operator} is not known here`);
  return Object.entries(matchLabels).every(([key, value]) => labels[key] === value) && matchExpressions.every(({ key }) => key in labels);
}

function isPeer({ podSelector, namespaceSelector, ipBlock }: Peer, { pod, namespace }: End): boolean {
  if (ipBlock !== undefined) throw new Error('cannot evaluate a policy: ipBlock is not known here');
  if (pod === undefined) return false;
  const sameNamespace = namespaceSelector === undefined ? namespace === undefined : selects(namespaceSelector, namespace ?? {});
  return sameNamespace && selects(podSelector ?? {}, pod);
}

/** Whether `subject`, a Pod of the policies' namespace, may send to (or hear from) the other end on this port. */
export function letsThrough(
  policies: readonly Policy[],
  direction: 'Ingress' | 'Egress',
  subject: Labels,
  other: End,
  { port, protocol = 'TCP' }: { readonly port: number; readonly protocol?: string },
): boolean {
  const bound = policies.filter(
    ({ podSelector, policyTypes }) => policyTypes?.includes(direction) === true && selects(podSelector, subject),
  );
  if (bound.length === 0) return true; // whom no policy selects, nothing is denied
  return bound.some((policy) =>
    ((direction === 'Egress' ? policy.egress : policy.ingress) ?? []).some((rule) => {
      const peers = direction === 'Egress' ? rule.to : rule.from;
      const ports = rule.ports ?? [];
      const portFits = ports.length === 0 || ports.some((one) => one.port === port && (one.protocol ?? 'TCP') === protocol);
      return portFits && (peers === undefined || peers.some((peer) => isPeer(peer, other)));
    }),
  );
}
