cube(`Sessions`, {
  sql: `SELECT session AS id, min(user_id) AS user_id, min(at) AS started_at, max(at) AS ended_at FROM ${Raw.sql()} AS e GROUP BY 1`,
  measures: {
    count: { type: `count` },
    avgLength: { sql: `EXTRACT(EPOCH FROM (ended_at - started_at)) / 60`, type: `avg` },
    totalPaid: { sql: `${paid}`, type: `sum` },
    bounce: { type: `count`, filters: [{ sql: `${steps} < 3` }] },
    bounceRate: { sql: `1.0 * ${bounce} / NULLIF(${count}, 0)`, type: `number` },
  },
  joins: { Raw: { relationship: `hasMany`, sql: `${CUBE}.id = ${Raw}.session` } },
  dimensions: {
    id: { sql: `id`, type: `string`, primaryKey: true, shown: true },
    startedAt: { sql: `started_at`, type: `time` },
    paid: { sql: `${Raw.paid}`, type: `number`, subQuery: true },
    steps: { sql: `${Raw.count}`, type: `number`, subQuery: true },
    deep: { sql: `CASE WHEN ${steps} > 3 THEN 'deep' ELSE 'flat' END`, type: `string` },
  },
});
cube(`Raw`, {
  sqlTable: `public.events`,
  shown: false,
  measures: { count: { type: `count` }, paid: { type: `count`, filters: [{ sql: `${CUBE}.name = 'pay'` }] } },
  dimensions: { id: { sql: `id`, type: `number`, primaryKey: true }, kind: { sql: `name`, type: `string` } },
});
