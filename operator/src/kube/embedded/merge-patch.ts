import { isJsonObject, type Json, type JsonObject, type MutableJsonObject } from '../json.ts';

/** RFC 7386: objects are merged, null removes, everything else replaces. */
export function mergePatch(target: Json | undefined, patch: JsonObject): JsonObject {
  const merged: MutableJsonObject = { ...(isJsonObject(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = isJsonObject(value) ? mergePatch(merged[key], value) : value;
  }
  return merged;
}
