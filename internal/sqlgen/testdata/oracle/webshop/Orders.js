cube(`Orders`, {
  extends: BaseOrders,
  shown: true,
  sql: `SELECT * FROM ${BaseOrders.sql()} AS b WHERE b.kind <> 'z' AND ${FILTER_PARAMS.Orders.createdAt.filter((from, to) => `b.created_at BETWEEN ${from}::timestamptz AND ${to}::timestamptz`)}`,
  measures: {
    total: { sql: `${CUBE}.amount - ${CUBE}.discount`, type: `sum` },
    perItem: { sql: `${CUBE.total} / NULLIF(${itemsTotal}, 0)`, type: `number` },
  },
  joins: { payments: { relationship: 'one_to_many', sql: `${CUBE.id} = ${payments}.order_id` } },
});
cube(`Returns`, { extends: Orders, sql: `SELECT * FROM public.orders WHERE status = 'void'`, sqlAlias: `ret`, title: `Returned` });
view(`Shop`, {
  cubes: [
    { joinPath: () => Orders, includes: [`count`, `total`, `status`, `doneRate`, `createdAt`, `late`, `basket`, `bigBuyers`, { name: `kind`, alias: `sort` }] },
    { joinPath: () => Orders.Buyers, prefix: true, includes: `*`, excludes: [`id`] },
    { joinPath: () => Orders.line_items, prefix: true, alias: `line`, includes: [`qty`, `sku`] },
    { joinPath: () => Orders.payments, includes: [`paid`, `method`] },
  ],
});
