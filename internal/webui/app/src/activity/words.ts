import type { Orchestrator, Person, RunningQuery } from "../api/client";
import { orchestrators, queries } from "./strings";

/** What somebody is called; "" for nobody by name. */
export function who(person: Person): string {
  return person.username || person.principal;
}

/** What a query is for. */
export function kind(q: RunningQuery): string {
  return queries.kinds[q.kind]?.(q.of) ?? q.kind;
}

/** How far a query is: its place in line, or its state. */
export function stage(q: RunningQuery, ended: boolean): string {
  if (ended) return queries.states.ended ?? "";
  return q.place > 0 ? queries.place(q.place) : (queries.states[q.state] ?? q.state);
}

/** How long something goes on, in whole seconds: "0 s", "2 min 5 s", "1 h 3 min". */
export function lasting(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** Whose an orchestrator is: those who use it, or who it was named after. */
export function whose(o: Orchestrator): string {
  const names = o.people.map(who).filter((name) => name !== "");
  if (names.length === 0) return o.username || orchestrators.anonymous;
  return orchestrators.andMore(names, o.more_people);
}

/** Whether several people use it. */
export function shared(o: Orchestrator): boolean {
  return o.people.length > 1 || o.more_people;
}
