import type { Kind, MetaCube, MetaMember } from "../api/cube";

/** A query in Cube's own format, as far as the form can write it. The URL holds one: it is the state of the screen. */
export interface Query {
  measures?: string[];
  dimensions?: string[];
  segments?: string[];
  timeDimensions?: TimeDimension[];
  filters?: Filter[];
  order?: [string, "asc" | "desc"][];
  limit?: number;
  offset?: number;
  timezone?: string;
}

export interface TimeDimension {
  dimension: string;
  granularity?: string;
  dateRange?: string | [string, string];
}

export interface Filter {
  member: string;
  operator: string;
  values?: string[];
}

/** A member of the model, with what the form needs to know of it. */
export interface Member extends MetaMember {
  kind: Kind;
  cube: string;
}

export const defaultLimit = 10_000;

export type Tab = "results" | "sql" | "json";

export interface Search {
  query?: Query;
  tab?: Tab;
}

/** Reads the address. What is not a query in it is left out: an address is typed, cut and shared. */
export function validateSearch(search: Record<string, unknown>): Search {
  const out: Search = {};
  const query = toQuery(search.query);
  if (query !== undefined && hasMembers(query)) out.query = query;
  if (search.tab === "sql" || search.tab === "json") out.tab = search.tab;
  return out;
}

/** Makes a Query of unknown JSON, keeping what fits; undefined when it is no object at all. */
export function toQuery(raw: unknown): Query | undefined {
  const value = typeof raw === "string" ? parse(raw) : raw;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const o = value as Record<string, unknown>;
  const q: Query = {};
  const words = (v: unknown) => (Array.isArray(v) ? v.filter((x): x is string => typeof x === "string") : []);
  for (const key of ["measures", "dimensions", "segments"] as const) {
    const list = words(o[key]);
    if (list.length > 0) q[key] = list;
  }
  const times = (Array.isArray(o.timeDimensions) ? o.timeDimensions : []).flatMap((t) => timeOf(t) ?? []);
  if (times.length > 0) q.timeDimensions = times;
  const filters = (Array.isArray(o.filters) ? o.filters : []).flatMap((f) => filterOf(f) ?? []);
  if (filters.length > 0) q.filters = filters;
  const order = orderOf(o.order);
  if (order.length > 0) q.order = order;
  if (Number.isInteger(o.limit) && (o.limit as number) >= 0) q.limit = o.limit as number;
  if (Number.isInteger(o.offset) && (o.offset as number) > 0) q.offset = o.offset as number;
  if (typeof o.timezone === "string" && o.timezone !== "") q.timezone = o.timezone;
  return q;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function timeOf(raw: unknown): TimeDimension | undefined {
  const t = raw as Partial<TimeDimension> | null;
  if (typeof t?.dimension !== "string") return undefined;
  const out: TimeDimension = { dimension: t.dimension };
  if (typeof t.granularity === "string" && t.granularity !== "") out.granularity = t.granularity;
  const range = t.dateRange as unknown;
  if (typeof range === "string" && range !== "") out.dateRange = range;
  if (Array.isArray(range) && typeof range[0] === "string") out.dateRange = [range[0], typeof range[1] === "string" ? range[1] : range[0]];
  return out;
}

function filterOf(raw: unknown): Filter | undefined {
  const f = raw as (Partial<Filter> & { dimension?: unknown }) | null;
  const member = f?.member ?? f?.dimension; // "dimension" is the old name
  if (typeof member !== "string" || typeof f?.operator !== "string") return undefined;
  const out: Filter = { member, operator: f.operator };
  if (Array.isArray(f.values)) out.values = f.values.filter((v) => v !== null).map(String);
  return out;
}

function orderOf(raw: unknown): [string, "asc" | "desc"][] {
  const pairs: unknown[] = Array.isArray(raw) ? raw : typeof raw === "object" && raw !== null ? Object.entries(raw) : [];
  return pairs.flatMap((p) =>
    Array.isArray(p) && typeof p[0] === "string" && (p[1] === "asc" || p[1] === "desc") ? [[p[0], p[1]] as [string, "asc" | "desc"]] : [],
  );
}

/** Whether the query selects anything (cube-rest §7.1). */
export function isRunnable(q: Query): boolean {
  return (q.measures?.length ?? 0) + (q.dimensions?.length ?? 0) + (q.timeDimensions ?? []).filter((t) => t.granularity).length > 0;
}

function hasMembers(q: Query): boolean {
  return names(q).length > 0;
}

/** Every member that the query names. */
export function names(q: Query): string[] {
  return [
    ...(q.measures ?? []),
    ...(q.dimensions ?? []),
    ...(q.segments ?? []),
    ...(q.timeDimensions ?? []).map((t) => t.dimension),
    ...(q.filters ?? []).map((f) => f.member),
  ];
}

/** What is sent: without the filters that are not finished yet, and without order for what is not selected. */
export function toSend(q: Query): Query {
  const filters = (q.filters ?? []).filter((f) => !takesValues(f.operator) || (f.values?.length ?? 0) > 0);
  const chosen = selected(q);
  const order = (q.order ?? []).filter(([id]) => chosen.includes(id));
  return tidy({ ...q, filters, order });
}

/** Drops what is empty, so that equal queries have equal addresses. */
export function tidy(q: Query): Query {
  return Object.fromEntries(Object.entries(q).filter(([, v]) => v !== undefined && !(Array.isArray(v) && v.length === 0))) as Query;
}

/** The members that make columns, in their order. */
export function selected(q: Query): string[] {
  return [
    ...(q.dimensions ?? []),
    ...(q.timeDimensions ?? []).filter((t) => t.granularity).map((t) => t.dimension),
    ...(q.measures ?? []),
  ];
}

/** The columns of a result, named as in its rows. */
export function columns(q: Query): string[] {
  return [
    ...(q.dimensions ?? []),
    ...(q.timeDimensions ?? []).filter((t) => t.granularity).map((t) => `${t.dimension}.${t.granularity}`),
    ...(q.measures ?? []),
  ];
}

export function has(q: Query, m: Member): boolean {
  switch (m.kind) {
    case "measure":
      return q.measures?.includes(m.name) ?? false;
    case "segment":
      return q.segments?.includes(m.name) ?? false;
    case "time":
      return q.timeDimensions?.some((t) => t.dimension === m.name) ?? false;
    case "dimension":
      return q.dimensions?.includes(m.name) ?? false;
  }
}

/** Adds m, or takes it out. A time comes by month: by day is often more rows than a first look wants. */
export function toggle(q: Query, m: Member): Query {
  const flip = (list: string[] = []) => (list.includes(m.name) ? list.filter((n) => n !== m.name) : [...list, m.name]);
  switch (m.kind) {
    case "measure":
      return tidy({ ...q, measures: flip(q.measures) });
    case "segment":
      return tidy({ ...q, segments: flip(q.segments) });
    case "dimension":
      return tidy({ ...q, dimensions: flip(q.dimensions) });
    case "time":
      return tidy({
        ...q,
        timeDimensions: has(q, m)
          ? q.timeDimensions?.filter((t) => t.dimension !== m.name)
          : [...(q.timeDimensions ?? []), { dimension: m.name, granularity: "month" }],
      });
  }
}

/** The model's members by name. */
export function membersOf(cubes: MetaCube[]): Map<string, Member> {
  const all = new Map<string, Member>();
  for (const c of cubes) {
    for (const m of c.measures) all.set(m.name, { ...m, kind: "measure", cube: c.name });
    for (const m of c.dimensions) all.set(m.name, { ...m, kind: m.type === "time" ? "time" : "dimension", cube: c.name });
    for (const m of c.segments) all.set(m.name, { ...m, kind: "segment", cube: c.name });
  }
  return all;
}

const byType: Record<string, string[]> = {
  string: ["equals", "notEquals", "contains", "notContains", "startsWith", "endsWith", "set", "notSet"],
  number: ["equals", "notEquals", "gt", "gte", "lt", "lte", "set", "notSet"],
  time: ["inDateRange", "notInDateRange", "beforeDate", "afterDate", "set", "notSet"],
  boolean: ["equals", "notEquals", "set", "notSet"],
};

/** The operators that make sense for a member (cube-rest §9.2). */
export function operatorsFor(m: Member | undefined): string[] {
  const type = m?.kind === "measure" && m.type !== "string" && m.type !== "time" && m.type !== "boolean" ? "number" : (m?.type ?? "string");
  return byType[type] ?? byType.string ?? [];
}

export function takesValues(operator: string): boolean {
  return operator !== "set" && operator !== "notSet";
}

/** Up to three queries to start with: a number, the number by something, and the number over time. */
export function starters(cubes: MetaCube[]): { measure: Member; dimension?: Member; time?: Member }[] {
  const members = [...membersOf(cubes).values()];
  const views = cubes.filter((c) => c.type === "view").map((c) => c.name);
  const cube = [...views, ...cubes.map((c) => c.name)].find((name) => members.some((m) => m.cube === name && m.kind === "measure"));
  const of = members.filter((m) => m.cube === cube);
  const measure = of.find((m) => m.kind === "measure");
  if (measure === undefined) return [];
  const dimension = of.find((m) => m.kind === "dimension" && m.type === "string");
  const time = of.find((m) => m.kind === "time");
  return [{ measure }, ...(dimension ? [{ measure, dimension }] : []), ...(time ? [{ measure, time }] : [])];
}
