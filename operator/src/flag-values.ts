/** Values of flags, read once: each throws a sentence that commander puts behind the flag's name. */
import { InvalidArgumentError } from 'commander';
import type { Peer } from './controller/config.ts';

export const wholeNumber =
  (min: number, max = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${min}${max === Number.MAX_SAFE_INTEGER ? '' : ` to ${max}`}.`);
  };

/** Seconds, fractions allowed, as ms. */
export function seconds(text: string): number {
  const value = /^[0-9]+(\.[0-9]+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value > 0) return value * 1000;
  throw new InvalidArgumentError('It must be a number of seconds above 0.');
}

/** 'name=value', collected. */
export function keyValue(pair: string, earlier: Readonly<Record<string, string>>): Record<string, string> {
  const [name = '', ...value] = pair.split('=');
  if (name === '' || value.length === 0) throw new InvalidArgumentError('It must be name=value.');
  return { ...earlier, [name]: value.join('=') };
}

export function jsonObject(text: string): Readonly<Record<string, unknown>> {
  const value = parsed(text);
  if (isObject(value)) return value;
  throw new InvalidArgumentError('It must be a JSON object.');
}

export function jsonObjects(text: string): readonly Readonly<Record<string, unknown>>[] {
  const value = parsed(text);
  if (Array.isArray(value) && value.every(isObject)) return value;
  throw new InvalidArgumentError('It must be a JSON array of objects.');
}

/** Where DNS answers. A peer that selects nothing would be everything, and is refused. */
export function dnsPeers(text: string): readonly Peer[] {
  const peers = jsonObjects(text).map(({ namespaceLabels, podLabels, cidr, ...rest }): Peer => {
    if (Object.keys(rest).length > 0) throw new InvalidArgumentError(`It must not have ${Object.keys(rest)[0]}.`);
    if (typeof cidr === 'string' && cidr !== '' && namespaceLabels === undefined && podLabels === undefined) return { cidr };
    if (cidr === undefined && (isLabels(namespaceLabels) || isLabels(podLabels)))
      return { ...(isLabels(namespaceLabels) && { namespaceLabels }), ...(isLabels(podLabels) && { podLabels }) };
    throw new InvalidArgumentError('Each must have namespaceLabels or podLabels, or else cidr.');
  });
  if (peers.length === 0) throw new InvalidArgumentError('It must name at least one.');
  return peers;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('It must be JSON.');
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isLabels(value: unknown): value is Readonly<Record<string, string>> {
  return isObject(value) && Object.keys(value).length > 0 && Object.values(value).every((one) => typeof one === 'string');
}
