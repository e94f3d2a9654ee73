// The shop of the tests of sqlgen, as somebody would write it in JavaScript.
import { key, aggregates, isDone } from './lib';

cube(`users`, {
  sql: `SELECT * FROM public.users WHERE ${SECURITY_CONTEXT.tenant_id.filter('tenant_id')}`,
  dimensions: {
    id: key,
    country: { sql: `country`, type: `string` },
    age: { sql: `age`, type: `number` },
    vip: { sql: `vip`, type: `boolean` },
  },
  measures: {
    count: { type: `count` },
    credit: { sql: `credit`, type: `sum` },
  },
});

cube(`orders`, {
  sql_table: `public.orders`,
  refreshKey: { every: `1 minute` },
  joins: {
    users: { relationship: `belongsTo`, sql: `${CUBE}.user_id = ${users.id}` },
    line_items: { relationship: `hasMany`, sql: `${CUBE.id} = ${line_items}.order_id` },
  },
  dimensions: {
    id: key,
    status: { sql: `status`, type: `string` },
    created_at: { sql: `created_at`, type: `time` },
    hour: { sql: `EXTRACT(HOUR FROM ${created_at})`, type: `number` },
    placed_at: { sql: `${created_at}`, type: `time`, shown: false },
    user_country: { sql: (users) => `${users.country}`, type: `string` },
    size: {
      type: `string`,
      case: {
        when: [
          { sql: `${CUBE}.amount >= 100`, label: `big` },
          { sql: CUBE + `.amount >= 10`, label: `it's \\ middling` },
        ],
        else: { label: `small` },
      },
    },
  },
  measures: Object.assign(
    { count: { type: `count`, drillMembers: [id, status] } },
    { total: { sql: `amount`, type: `sum`, format: `currency` } },
    aggregates('amount', { average: 'avg', lowest: 'min', highest: 'max' }),
    {
      users: { sql: `user_id`, type: `countDistinct` },
      users_about: { sql: `user_id`, type: `count_distinct_approx` },
      done: { type: `count`, filters: [{ sql: isDone }] },
      done_total: { type: `sum`, sql: `${CUBE}.amount`, filters: [{ sql: `${isDone(CUBE)}` }, { sql: `${CUBE}.amount > 0` }] },
      done_share: { sql: `1.0 * ${done} / NULLIF(${count}, 0)`.replace('X', 'x'), type: `number`, format: `percent` },
      twice_share: { sql: `2 * ${done_share}`, type: `number` },
      spread: { sql: () => { const amount = `${CUBE}.amount`; return `MAX(${amount}) - MIN(${amount})`; }, type: `number` },
    },
  ),
  segments: { done_only: { sql: (CUBE) => isDone(CUBE) } },
});

cube(`line_items`, {
  sqlAlias: `items`,
  sqlTable: `public.line_items`,
  joins: [{ name: `products`, relationship: `manyToOne`, sql: `${CUBE}.sku = ${products.sku}` }],
  dimensions: {
    orderId: { sql: `order_id`, type: `number`, primaryKey: true },
    line: { sql: `line`, type: `number`, primaryKey: true },
    sku: { sql: `sku`, type: `string` },
  },
  measures: {
    count: { type: `count` },
    qty: { sql: `qty`, type: `sum` },
    revenue: { sql: `${CUBE}.qty * ${products.price}`, type: `sum` },
  },
});

cube(`products`, {
  sql_table: `public.products`,
  dimensions: {
    sku: { sql: `sku`, type: `string`, primaryKey: true },
    ...Object.fromEntries([['price', `number`], ['label', `string`]].map(([name, type]) => [name, { sql: name, type }])),
  },
});

cube(`recent`, {
  sql: `SELECT * FROM ${orders.sql()} AS o WHERE ${FILTER_PARAMS.recent.created_at.filter('o.created_at')}
  AND ${FILTER_GROUP(
    FILTER_PARAMS.recent.status.filter('o.status'),
    FILTER_PARAMS.recent.kind.filter((k) => `o.kind = ${k}`),
  )}
  AND ${SECURITY_CONTEXT.regions.filter((r) => `o.region IN (${r}) OR o.region IS NULL`)}\n`,
  dimensions: {
    id: { ...key, public: true },
    status: { sql: `status`, type: `string` },
    kind: { sql: `kind`, type: `string` },
    created_at: { sql: `created_at`, type: `time` },
  },
  measures: { count: { type: `count` } },
});

for (const name of ['nowhere']) {
  cube(name, { sqlTable: name, dataSource: `other`, measures: { count: { type: `count` } } });
}

view(`sales`, {
  cubes: [
    { join_path: orders, includes: [status, total, count, done_share, { name: created_at, alias: `ordered_at` }, done_only] },
    { joinPath: () => orders.users, prefix: true, includes: [`country`, `credit`] },
  ],
});
