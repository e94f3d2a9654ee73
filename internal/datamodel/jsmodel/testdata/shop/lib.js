// What the cubes share.
export const key = { sql: `id`, type: `number`, primaryKey: true };

export const isDone = (CUBE) => `${CUBE}.status = 'done'`;

export const aggregates = (column, types) =>
  Object.fromEntries(Object.entries(types).map(([name, type]) => [name, { sql: column, type }]));
