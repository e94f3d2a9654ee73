import { strings } from "../strings";

/** What a scope allows, in words; undefined when nobody told us. */
export function scopeWords(scope: string): string | undefined {
  const words = strings.scopes[scope];
  if (words !== undefined) return words;
  const role = /^session:role:(.+)$/.exec(scope)?.[1];
  return role === undefined ? undefined : strings.scopeRole(role);
}
