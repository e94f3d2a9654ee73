const countries = { de: 'Germany', fr: 'France' };

cube(`customers`, {
  sql: `SELECT * FROM public.customers`,

  dimensions: {
    id: { sql: `id`, type: `number`, primaryKey: true },
    name: { sql: `name`, type: `string` },
    country: {
      type: `string`,
      case: {
        when: Object.entries(countries).map(([code, label]) => ({ sql: `${CUBE}.country = '${code}'`, label })),
        else: { label: `Elsewhere` },
      },
    },
  },

  measures: {
    count: { type: `count` },
  },
});
