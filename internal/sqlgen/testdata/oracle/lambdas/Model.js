const col = (n) => `e."${n}"`;
cube(`events`, {
  sql: `
    SELECT e.*, ${FILTER_PARAMS.events.name.filter((v) => `(${v})::text`)} AS asked
    FROM public.events e
    WHERE ${FILTER_PARAMS.events.at.filter(col('at'))}
      AND ${FILTER_PARAMS.events.kind.filter((x) => `e.name = ${x}`)}
      AND ${FILTER_GROUP(FILTER_PARAMS.events.user_id.filter('e.user_id'), FILTER_PARAMS.events.session.filter((s) => `e.session = ${s}`))}
  `,
  dimensions: {
    id: { sql: `id`, type: `number`, primary_key: true },
    name: { sql: `name`, type: `string` },
    kind: { sql: `name`, type: `string` },
    asked: { sql: `asked`, type: `string` },
    user_id: { sql: `user_id`, type: `number` },
    session: { sql: `session`, type: `string` },
    at: { sql: `at`, type: `time` },
  },
  measures: {
    count: { type: `count` },
    share: { sql: `1.0 * COUNT(*) / (SELECT COUNT(*) FROM public.events e WHERE ${FILTER_PARAMS.events.at.filter('e.at')})`, type: `number` },
    cutoff: { sql: `COUNT(CASE WHEN ${FILTER_PARAMS.events.at.filter((from, to) => `${CUBE}.at > ${to}::timestamptz - interval '3 days'`)} THEN 1 END)`, type: `number` },
  },
  segments: { named: { sql: `${FILTER_PARAMS.events.kind.filter(`${CUBE}.name`)} OR ${CUBE}.id < 10` } },
  joins: { users: { relationship: `many_to_one`, sql: `${CUBE}.user_id = ${users.id} AND ${FILTER_PARAMS.events.at.filter(`${CUBE}.at`)}` } },
});
cube(`users`, {
  sql: `SELECT * FROM public.users u WHERE ${FILTER_PARAMS.users.country.filter('u.country')} AND ${FILTER_PARAMS.activity.name.filter('u.name')}`,
  dimensions: { id: { sql: `id`, type: `number`, primaryKey: true }, country: { sql: `country`, type: `string` }, name: { sql: `name`, type: `string` } },
  measures: { count: { type: `count` } },
});
view(`activity`, {
  cubes: [
    { join_path: events, includes: `*` },
    { join_path: events.users, includes: [`country`, { name: `name`, alias: `person` }, { name: `count`, alias: `people` }] },
  ],
});
