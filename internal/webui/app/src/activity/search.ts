/** What the address of a live page says: whose things, which of them, the one that is open, and how often it is brought up to date. */
export interface Search {
  all?: true;
  state?: string;
  source?: string;
  text?: string;
  row?: string;
  every?: Rate;
}

export const rates = ["live", "5s", "30s", "off"] as const;

/** As it happens, every so many seconds, or when asked. */
export type Rate = (typeof rates)[number];

export function validateSearch(search: Record<string, unknown>): Search {
  const valid: Record<string, unknown> = {};
  for (const name of ["state", "source", "text", "row"]) {
    if (typeof search[name] === "string" && search[name] !== "") valid[name] = search[name];
  }
  if (search.all === true) valid.all = true;
  const every = rates.find((rate) => rate === search.every);
  if (every) valid.every = every;
  return valid;
}

/** search with part of it changed; what says nothing goes from the address. */
export function change(search: Search, part: { [name in keyof Search]: Search[name] | "" | false | undefined }): Search {
  return validateSearch({ ...search, ...part });
}
