const tables = { orders: 'public.orders' };
const wrap = (s) => `COALESCE(${s}, 0)`;
const statuses = ['done', 'open', 'void'];
const dims = {};
statuses.forEach((s) => { dims[`is_${s}`] = { sql: () => `status = '${s}'`, type: `boolean` }; });
class Helper { static upper(x) { return `UPPER(${x})`; } }
function caseOf(col) { return { type: `string`, case: { when: statuses.map((s, i) => ({ sql: (CUBE) => `${CUBE}.${col} = '${s}'`, label: `S${i}` })), else: { label: `Other` } } }; }

cube('Orders', {
  sql: () => `SELECT * FROM ${tables.orders}`,
  joins: {
    Users: { relationship: 'many_to_one', sql: (CUBE, Users) => `${CUBE}.user_id = ${Users.id}` },
    Items: { relationship: 'one_to_many', sql: `${CUBE['id']} = ${Items['order_id']}` },
  },
  dimensions: Object.assign({
    id: { sql: `id`, type: `number`, primaryKey: true },
    statusUpper: { sql: `${Helper.upper(`${CUBE}.status`)}`, type: `string` },
    country: { sql: `${Users['country']}`, type: `string` },
    createdAt: { sql: `${CUBE}.created_at`, type: `time` },
    day: { sql: `${CUBE.createdAt.day}`, type: `time` },
    month: { sql: `TO_CHAR(${createdAt.month}, 'YYYY/MM')`, type: `string` },
    joined: { sql: `CONCAT(${country}, '-', ${CUBE.statusUpper})`, type: `string` },
    stage: caseOf('status'),
    nested: { sql: `${['a', 'b'].map((k) => `CASE WHEN ${CUBE}.kind = '${k}' THEN 1 ELSE 0 END`).join(' + ')}`, type: `number` },
    dollars: { sql: `'$' || ${CUBE}.kind || '\${x}'`, type: `string` },
    items: { sql: `${Items.qty}`, type: `number`, subQuery: true },
  }, dims),
  measures: {
    count: { type: 'count' },
    total: { sql: `${wrap(`${CUBE}.amount`)}`, type: 'sum' },
    ...Object.fromEntries(statuses.map((s) => [`${s}Total`, { sql: (CUBE) => `${CUBE}.amount`, type: 'sum', filters: [{ sql: (CUBE) => `${CUBE}.status = '${s}'` }] }])),
    allTotals: { sql: `${doneTotal} + ${CUBE.openTotal} + ${Orders.voidTotal}`, type: 'number' },
    perItem: { sql: `${total} / NULLIF(${Items.qty}, 0)`, type: 'number' },
    itemsAvg: { sql: `${items}`, type: 'avg' },
    dayCount: { sql: `${day}`, type: 'countDistinct' },
    p90: { sql: `PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY ${CUBE}.amount)`, type: 'number' },
    cnt: { sql: `COUNT(*) FILTER (WHERE ${CUBE}.kind = 'a')`, type: 'number' },
  },
  segments: { many: { sql: `${CUBE.items} > 5` }, frenchOrGerman: { sql: `${Users.country} = 'FR' OR ${country} = 'DE'` } },
});

cube('Users', {
  sql: 'SELECT * FROM public.users',
  dimensions: { id: { sql: 'id', type: 'number', primaryKey: true }, country: { sql: `country`, type: 'string' } },
  measures: { count: { type: 'count' }, credit: { sql: 'credit', type: 'sum' } },
});
cube('Items', {
  sql: `SELECT * FROM public.line_items`,
  dimensions: { order_id: { sql: 'order_id', type: 'number', primaryKey: true }, line: { sql: 'line', type: 'number', primaryKey: true }, sku: { sql: 'sku', type: 'string' } },
  measures: { qty: { sql: 'qty', type: 'sum' } },
});
['DE', 'FR'].forEach((c) => {
  cube(`Orders${c}`, {
    extends: Orders,
    sql: `SELECT o.* FROM public.orders o JOIN public.users u ON u.id = o.user_id WHERE u.country = '${c}'`,
    measures: { doubled: { sql: `2 * ${total}`, type: `number` } },
  });
  view(`Report${c}`, { cubes: [{ joinPath: `Orders${c}`, includes: ['count', 'total', 'doubled', 'stage', 'createdAt'] }, { joinPath: `Orders${c}.Users`, prefix: true, includes: '*' }] });
});
