import type { PreAggregation } from "../api/client";

/** How a pre-aggregation stands, as a person needs to know: what its latest build came to, with what is kept of it. */
export function stateOf(p: PreAggregation): string {
  switch (p.state) {
    case "done":
      return p.partitions === 0 ? "none" : p.rows === 0 ? "empty" : "done";
    case "failed":
      return p.partitions === 0 ? "failed" : "stale";
    case "unknown":
      return p.partitions === 0 ? "none" : "kept";
    default:
      return p.state;
  }
}
