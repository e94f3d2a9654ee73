import { origin } from "../api/client";
import type { Query } from "./draft";

// The token is never part of what is copied: a snippet ends in chats and tickets. It is read from the environment.

export function asCurl(query: Query): string {
  const body = JSON.stringify({ query }).replaceAll("'", "'\\''");
  return [
    `curl '${origin()}/cubejs-api/v1/load' \\`,
    '  -H "Authorization: $CUBE_TOKEN" \\',
    "  -H 'Content-Type: application/json' \\",
    `  --data '${body}'`,
  ].join("\n");
}

export function asJavaScript(query: Query): string {
  return `import cube from "@cubejs-client/core";

const api = cube(process.env.CUBE_TOKEN, { apiUrl: ${JSON.stringify(`${origin()}/cubejs-api/v1`)} });
const result = await api.load(${JSON.stringify(query, null, 2)});
console.table(result.tablePivot());
`;
}

export function asJSON(query: Query): string {
  return JSON.stringify(query, null, 2);
}
