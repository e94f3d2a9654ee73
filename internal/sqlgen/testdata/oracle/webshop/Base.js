import { schema, audit, byStatus } from './shared';
import { money } from './shared';

cube(`BaseOrders`, {
  sql: `SELECT * FROM ${schema('orders')} WHERE ${FILTER_PARAMS.BaseOrders.createdAt.filter('created_at')}`,
  shown: false,
  joins: {
    Buyers: { relationship: `belongsTo`, sql: `${CUBE}.user_id = ${Buyers}.id` },
    line_items: { relationship: `hasMany`, sql: `${CUBE.id} = ${line_items.order_id}` },
  },
  dimensions: {
    id: { sql: `id`, type: `number`, primaryKey: true },
    status: { sql: `status`, type: `string`, title: `State`, description: 'The `state`' },
    kind: { sql: `kind`, type: `string` },
    amount: { sql: `amount`, type: `number` },
    ...audit,
    lag: { sql: `EXTRACT(epoch FROM ${shippedAt} - ${createdAt}) / 3600`, type: `number` },
    late: { sql: `CASE WHEN ${CUBE.lag} > 24 THEN 'late' ELSE 'fine' END`, type: `string` },
    buyer: { sql: `${Buyers.label}`, type: `string` },
    items: { sql: `${line_items.qty}`, type: `number`, subQuery: true },
    itemsOfBuyer: { sql: `${Buyers.items}`, type: `number` },
  },
  measures: {
    count: { type: `count`, drillMembers: [id, status, Buyers.label] },
    total: money('amount'),
    ...byStatus,
    doneRate: { sql: `100.0 * ${doneCount} / NULLIF(${count}, 0)`, type: `number` },
    itemsTotal: { sql: `${items}`, type: `sum` },
    lagAvg: { sql: `${lag}`, type: `avg` },
    lateTotal: { sql: `amount`, type: `sum`, filters: [{ sql: `${late} = 'late'` }, { sql: `${Buyers.vip}` }] },
    basket: { sql: `${total} / NULLIF(${line_items.qty}, 0)`, type: `number` },
    maxTotal: { sql: `${CUBE}.amount`, type: `max`, filters: [{ sql: `${kind} = 'a' OR ${kind} = 'b'` }] },
  },
  segments: {
    european: { sql: `${CUBE}.region = 'eu' OR ${CUBE}.region IS NULL` },
    bigBuyers: { sql: `${Buyers.items} > 20` },
  },
});
