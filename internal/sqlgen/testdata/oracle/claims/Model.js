cube(`users`, {
  sql: `SELECT * FROM public.users WHERE ${SECURITY_CONTEXT.tenant_id.filter('tenant_id')} AND ${SECURITY_CONTEXT.cubeCloud.userAttributes.ages.filter((a) => `age = ANY(ARRAY[${a}]::int[])`)}`,
  joins: { orders: { relationship: `hasMany`, sql: `${CUBE}.id = ${orders}.user_id` } },
  dimensions: {
    id: { sql: `id`, type: `number`, primaryKey: true },
    country: { sql: `country`, type: `string` },
    mine: { sql: `CASE WHEN ${CUBE}.country = ${SECURITY_CONTEXT.country} THEN 'mine' ELSE 'other' END`, type: `string` },
    orders_n: { sql: `${orders.count}`, type: `number`, subQuery: true },
  },
  measures: {
    count: { type: `count` },
    mine_count: { type: `count`, filters: [{ sql: `${SECURITY_CONTEXT.country.filter(`${CUBE}.country`)}` }] },
    credit: { sql: `CASE WHEN ${security_context.role.unsafeValue() === 'boss'} THEN ${CUBE}.credit END`, type: `sum` },
  },
  segments: { of_region: { sql: `${securityContext.regions.filter(`${CUBE}.country`)}` } },
});
cube(`orders`, {
  sql: `SELECT * FROM public.orders WHERE ${SECURITY_CONTEXT.kinds.filter('kind')} AND (${SECURITY_CONTEXT.min.filter((m) => `amount > ${m}::numeric OR amount IS NULL`)})`,
  dimensions: { id: { sql: `id`, type: `number`, primaryKey: true }, status: { sql: `status`, type: `string` }, kind: { sql: `kind`, type: `string` } },
  measures: { count: { type: `count` }, total: { sql: `amount`, type: `sum` } },
});
