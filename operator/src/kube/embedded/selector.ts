import { InvalidError } from '../errors.ts';
import { isJsonObject, type Json, type JsonObject, objectAt } from '../json.ts';
import type { Selector } from '../store.ts';

/** Whether an object is selected. Throws InvalidError for a field that the kind does not declare, as the API server does. */
export function selects(selector: Selector | undefined, selectable: ReadonlySet<string>): (body: JsonObject) => boolean {
  const labels = Object.entries(selector?.labels ?? {});
  const fields = Object.entries(selector?.fields ?? {});
  for (const [field] of fields) if (!selectable.has(field)) throw new InvalidError(`field label not supported: ${field}`);
  return (body) => {
    const has = objectAt(body['metadata'], 'labels');
    return labels.every(([key, value]) => has[key] === value) && fields.every(([field, value]) => fieldText(body, field) === value);
  };
}

/** An unset field is selected by the empty text. */
function fieldText(body: JsonObject, field: string): string {
  let value: Json | undefined = body;
  for (const step of field.split('.')) value = isJsonObject(value) ? value[step] : undefined;
  return value === undefined || value === null ? '' : String(value);
}
