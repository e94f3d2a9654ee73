import { prop, plans } from './helpers';
const table = 'public.events';
cube(`Events`, {
  sql: `SELECT *, ${prop('plan')} AS plan FROM ${table}`,
  joins: {
    Users: { relationship: `belongsTo`, sql: `${CUBE}.user_id = ${Users}.id` },
    Sessions: { relationship: `belongsTo`, sql: `${CUBE}.session = ${Sessions.id}` },
  },
  measures: {
    count: { type: `count`, drillMembers: [id, name, Users.country], meta: { tile: { size: [1, 2.5], on: true } } },
    revenue: { sql: `(${CUBE}.${prop('amount')})::numeric`, type: `sum`, format: `currency` },
    payers: { sql: `user_id`, type: `countDistinct`, filters: [{ sql: `${CUBE.name} = 'pay'` }] },
    visitors: { sql: `${userKey}`, type: `countDistinct`, filters: [{ sql: `${CUBE}.name = 'visit'` }] },
    conversion: { sql: `100.0 * ${payers} / NULLIF(${visitors}, 0)`, type: `number`, format: `percent` },
    arpu: { sql: `${revenue} / NULLIF(${Users.count}, 0)`, type: `number` },
    perSession: { sql: `1.0 * ${CUBE.count} / NULLIF(${Sessions.count}, 0)`, type: `number` },
    lastPlan: { sql: `MAX(${plan})`, type: `string` },
    approx: { sql: `${CUBE}.session`, type: `countDistinctApprox` },
    ...plans.reduce((all, p) => ({ ...all, [`${p}Revenue`]: { sql: `(props->>'amount')::numeric`, type: `sum`, filters: [{ sql: `${CUBE}.plan = '${p}'` }], title: `Revenue of ${p}` } }), {}),
    score: { sql: `${freeRevenue} + ${proRevenue} * 2`, type: `number` },
    overFirst: { sql: `EXTRACT(EPOCH FROM (${CUBE}.at - ${Sessions.startedAt}))`, type: `avg` },
  },
  dimensions: {
    id: { sql: `id`, type: `number`, primaryKey: true },
    name: { sql: `name`, type: `string` },
    userKey: { sql: `${CUBE}.user_id`, type: `number` },
    plan: { sql: `plan`, type: `string` },
    source: { sql: `${CUBE}.props #>> '{utm,source}'`, type: `string` },
    firstTag: { sql: `${CUBE}.props -> 'tags' ->> 0`, type: `string` },
    amount: { sql: `(${CUBE}.props ->> 'amount')::numeric`, type: `number` },
    big: { sql: `${amount} > 25`, type: `boolean` },
    at: { sql: `at`, type: `time` },
    hour: { sql: `EXTRACT(hour FROM ${at})`, type: `number` },
    country: { sql: `${Users.country}`, type: `string` },
    stage: { type: `string`, case: { when: [{ sql: `${Sessions.paid} > 0`, label: `paid` }, { sql: `${name} IN ('visit', 'leave')`, label: { sql: `upper(${name})` } }], else: { label: `it's other` } } },
  },
  segments: {
    pro: { sql: `${plan} = 'pro'` },
    paying: { sql: `${Sessions.paid} > 0` },
    grown: { sql: `${Users.age} >= 30` },
  },
});
