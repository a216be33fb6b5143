import { QUANTITY_UNITS } from '@dovecote/crds';

type Amounts = Readonly<Record<string, string | number | undefined>>;

/**
 * What a Pod asks for and may take: the AgentGroup's words over the defaults. A default gives way where it would contradict what
 * was said, because the API server refuses a request above its limit.
 */
export function resourcesOf(
  said: { readonly requests?: Amounts | undefined; readonly limits?: Amounts | undefined } | undefined,
  defaults: { readonly requests: Amounts; readonly limits: Amounts },
): { requests: Record<string, string>; limits: Record<string, string> } {
  const requests = strings({ ...defaults.requests, ...said?.requests });
  const limits = strings({ ...defaults.limits, ...said?.limits });
  for (const [name, limit] of Object.entries(limits)) {
    const request = requests[name];
    if (request === undefined || amount(request) <= amount(limit)) continue;
    if (said?.limits?.[name] === undefined) limits[name] = request;
    else if (said.requests?.[name] === undefined) requests[name] = limit;
    // Both were said: the API server's own sentence about it becomes the Session's condition.
  }
  return { requests, limits };
}

function strings(amounts: Amounts): Record<string, string> {
  return Object.fromEntries(
    Object.entries(amounts).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const])),
  );
}

/** A Kubernetes quantity as a number, for comparing. NaN for what is none: it compares as neither more nor less. */
function amount(quantity: string): number {
  const [, digits = '', unit = ''] = /^([0-9.]+)([a-zA-Z]*)$/.exec(quantity) ?? [];
  return digits === '' ? Number.NaN : Number(digits) * (unit === 'm' ? 1e-3 : (QUANTITY_UNITS[unit] ?? Number.NaN));
}
