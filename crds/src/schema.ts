// The words in which kinds are written. Each helper gives a zod schema that means the same thing to zod, to the API server (through crd.ts)
// and to the embedded store (through admit.ts). Bare z.string(), z.array(), z.record() and .refine() fail the generator.
import { z } from 'zod';

/** One entry of x-kubernetes-validations. `message` may not hold a line break; `fieldPath` is relative and may not enter a list. */
export interface Rule {
  rule: string;
  message: string;
  /** A CEL expression giving the message, for when the value itself should be named. `message` stands in when it cannot be evaluated. */
  messageExpression?: string;
  fieldPath?: string;
  /** FieldValueDuplicate is left out on purpose: the API server drops the message of such a rule. */
  reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired';
  /** Makes a rule with oldSelf run on creation too; oldSelf is then an optional. */
  optionalOldSelf?: boolean;
}

/** Every rule ever attached: the generator fails if one of them is in no CRD, because .extend(), .omit() and .strict() lose rules silently. */
export const notedRules = new Set<Rule>();
/** Checks that count the way the API server does (code points), hence not drift. The generator throws on every other refine(). */
export const counted = new WeakSet<object>();

export const rulesOf = (schema: z.ZodType): Rule[] => (schema.meta()?.['x-kubernetes-validations'] ?? []) as Rule[];

/** Attaches CEL rules, the only rule language here. Compose objects first and call this last: zod's object methods drop them. */
export const cel = <S extends z.ZodType>(schema: S, ...rules: Rule[]): S => {
  for (const rule of rules) notedRules.add(rule);
  return schema.meta({ ...schema.meta(), 'x-kubernetes-validations': [...rulesOf(schema), ...rules] });
};

const IMMUTABLE = { message: 'field is immutable', reason: 'FieldValueForbidden' } as const;

/** For required fields. A transition rule on an optional field is skipped when the field is added or removed: use frozen() for those. */
export const immutable = <S extends z.ZodType>(schema: S): S => cel(schema, { rule: 'self == oldSelf', ...IMMUTABLE });

/** The optional `fields` of `object` can be neither set, changed nor removed after creation. */
export const frozen = <Shape extends z.core.$ZodLooseShape, S extends z.ZodObject<Shape>>(
  object: S,
  ...fields: (keyof S['shape'] & string)[]
): S =>
  cel(
    object,
    ...fields.map((f) => ({
      rule: `has(self.${f}) == has(oldSelf.${f}) && (!has(self.${f}) || self.${f} == oldSelf.${f})`,
      fieldPath: `.${f}`,
      ...IMMUTABLE,
    })),
  );

/** The optional `fields` of `object` may be set later, but then neither changed nor removed. */
export const setOnce = <Shape extends z.core.$ZodLooseShape, S extends z.ZodObject<Shape>>(
  object: S,
  ...fields: (keyof S['shape'] & string)[]
): S =>
  cel(
    object,
    ...fields.map((f) => ({
      rule: `!has(oldSelf.${f}) || (has(self.${f}) && self.${f} == oldSelf.${f})`,
      fieldPath: `.${f}`,
      message: 'field is immutable once set',
      reason: 'FieldValueForbidden' as const,
    })),
  );

/**
 * A tagged union the structural way: the enum `tag` names the one optional block that may be set. A block in `required` must be set when its tag
 * is chosen; the others may be left out because they have nothing that must be said.
 */
export const union = <Shape extends z.core.$ZodLooseShape, S extends z.ZodObject<Shape>>(
  object: S,
  tag: keyof S['shape'] & string,
  members: readonly (keyof S['shape'] & string)[],
  required: readonly (keyof S['shape'] & string)[] = members,
): S =>
  cel(
    object,
    ...members.flatMap((m): Rule[] => [
      ...(required.includes(m)
        ? [
            {
              rule: `self.${tag} != '${m}' || has(self.${m})`,
              message: `must be set when ${tag} is '${m}'`,
              fieldPath: `.${m}`,
              reason: 'FieldValueRequired' as const,
            },
          ]
        : []),
      {
        rule: `self.${tag} == '${m}' || !has(self.${m})`,
        message: `may only be set when ${tag} is '${m}'`,
        messageExpression: `"may only be set when ${tag} is '${m}', not '" + self.${tag} + "'"`,
        fieldPath: `.${m}`,
        reason: 'FieldValueForbidden',
      },
    ]),
  );

/** Any text of `min` to `max` characters (Unicode code points, as the API server counts; its messages say "bytes"). */
export const text = (max: number, min = 0) => {
  const check = z.refine<string>((s) => {
    const length = [...s].length;
    return length >= min && length <= max;
  }, `must have ${min} to ${max} characters`);
  counted.add(check);
  return z
    .string()
    .check(check)
    .meta({ maxLength: max, ...(min > 0 ? { minLength: min } : {}) });
};

/** Text of a form that is obvious from its regular expression, which the user will see. Printable ASCII only; anchored; RE2. */
export const pattern = (form: RegExp, max: number, min = 1) => z.string().regex(form).min(min).max(max);

/** Text whose form needs words: `form` is RE2 and ASCII, `message` completes "spec.x: Invalid value: ...". */
export const worded = (form: string, max: number, message: string) =>
  cel(text(max, 1), { rule: `self.matches(${JSON.stringify(form)})`, message });

/** The longest name an object of ours may have: names become label values on Pods, and refs are selectable fields. */
export const NAME_MAX = 63;

/** The name of another object of ours in the same namespace. */
export const name = () => pattern(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, NAME_MAX);

/** The name of an object of Kubernetes itself (Secret, RuntimeClass), which may be longer than ours. */
export const kubeName = () => pattern(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 253);

/** `https://host:port/path`, with room for an emulator or an enterprise installation. No query, no user information: an URL is printed in status. */
export const httpUrl = () =>
  worded(
    '^https?://([A-Za-z0-9]([-A-Za-z0-9._]{0,251}[A-Za-z0-9])?|[[][0-9A-Fa-f:.]{2,45}\\])(:[0-9]{1,5})?(/[-A-Za-z0-9._~/%+@:]*)?$',
    1024,
    'must be an http:// or https:// URL without user, query or fragment',
  );

const DURATION = '^([0-9]{1,6}(ms|s|m|h)){1,4}$';

/** A Go duration of bounded digits, such as 90s or 1h30m. Read it with durationMs(). */
export const duration = () => worded(DURATION, 32, 'must be a duration such as 500ms, 90s or 1h30m');

/** duration() between two bounds, both inclusive. */
export const durationBetween = (min: string, max: string) =>
  cel(duration(), {
    rule: `!self.matches('${DURATION}') || (duration(self) >= duration('${min}') && duration(self) <= duration('${max}'))`,
    message: `must be between ${min} and ${max}`,
    messageExpression: `'must be between ${min} and ${max}, not ' + self`,
  });

const intOrString = (form: RegExp, min: number) =>
  z.union([z.int().min(min), z.string().regex(form).max(20)]).meta({
    'x-kubernetes-int-or-string': true,
    minimum: min,
    maximum: Number.MAX_SAFE_INTEGER,
    pattern: form.source,
    maxLength: 20,
  });

/** A Kubernetes resource amount: 500m, 2, 1Gi. */
export const quantity = () => intOrString(/^[0-9]{1,12}([.][0-9]{1,6})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/, 0);

/** A size in whole bytes that is not zero: 25Mi, 1G, 1048576. Read it with byteCount(). */
export const byteSize = () => intOrString(/^[1-9][0-9]{0,11}(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/, 1);

/** An RFC 3339 time. The rule is what makes the API server refuse an array here: it skips `format` for lists. */
export const time = () =>
  cel(z.iso.datetime({ offset: true }), {
    rule: "self >= timestamp('1970-01-01T00:00:00Z')",
    message: 'must be an RFC 3339 time after 1970',
  });

/** A list whose items are told apart by `keys` (required or defaulted scalars); server-side apply merges it item by item. */
export const listMap = <S extends z.ZodObject>(item: S, keys: (keyof S['shape'] & string)[], max: number) =>
  z.array(item).max(max).meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': keys });

/** A list of scalars without order or repetition; server-side apply merges it. */
export const set = <S extends z.ZodType>(item: S, max: number) => z.array(item).max(max).meta({ 'x-kubernetes-list-type': 'set' });

/** An ordered list, replaced as a whole. */
export const list = <S extends z.ZodType>(item: S, max: number) => z.array(item).max(max).meta({ 'x-kubernetes-list-type': 'atomic' });

/** A map from text to text or the like. The generator turns the key's bounds into a rule: JSON schema of the API server cannot say them. */
export const dict = <K extends z.ZodType<string, string>, V extends z.ZodType>(key: K, value: V, max: number) =>
  z.record(key, value).meta({ maxProperties: max });

/** An object of unknown form, stored as it is. It can be frozen, but no rule can look inside. */
export const freeform = () => z.looseObject({});

/** One key of a Secret in the same namespace. */
export const secretRef = (defaultKey: string) =>
  z.object({
    name: kubeName().describe('The name of the Secret.'),
    key: pattern(/^[-._a-zA-Z0-9]+$/, 253)
      .default(defaultKey)
      .describe('The key in the Secret.'),
  });

/** A Secret in the same namespace whose keys have fixed names. */
export const secretName = () => z.object({ name: kubeName().describe('The name of the Secret.') });

const Condition = z.object({
  type: pattern(/^[A-Z][A-Za-z0-9]*$/, 64).describe('What the condition is about.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Whether it holds.'),
  reason: pattern(/^[A-Z][A-Za-z0-9]*$/, 64).describe('Why, as one word for programs.'),
  message: text(4096).describe('Why, as a sentence for people.'),
  observedGeneration: z.int().min(0).optional().describe('The metadata.generation this was said about.'),
  lastTransitionTime: time().describe('When the status last changed.'),
});
/** As the Kubernetes API conventions have it. Types and reasons are listed in conditions.ts. */
export type Condition = z.infer<typeof Condition>;

/** A status: conditions and observedGeneration, which every kind has, and the fields of this kind. */
export const status = <S extends z.core.$ZodLooseShape>(shape: S) =>
  z.object({
    observedGeneration: z.int().min(0).optional().describe('The metadata.generation that this status is about.'),
    conditions: listMap(Condition, ['type'], 32).optional().describe('What is true of the object now.'),
    ...shape,
  });
