export const money = (column) => ({ sql: () => `COALESCE(${column}, 0)`, type: `sum`, format: `currency` });
export const audit = {
  createdAt: { sql: () => `created_at`, type: `time` },
  shippedAt: { sql: () => `shipped_at`, type: `time` },
};
const STATUS = { done: `'done', 'Done'`, open: `'open'` };
export const byStatus = Object.keys(STATUS).reduce((m, key) => Object.assign(m, {
  [`${key}Count`]: { type: `count`, filters: [{ sql: (CUBE) => `${CUBE}.status IN (${STATUS[key]})` }] },
}), {});
export const schema = (table) => `public.${table}`;
