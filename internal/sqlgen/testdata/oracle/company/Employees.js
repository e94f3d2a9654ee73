import { isActive, yearsOf } from './lib/dates';
cube('employees', {
  sql: `SELECT * FROM public.employees`,
  joins: {
    departments: { relationship: 'many_to_one', sql: `${CUBE}.department_id = ${departments.id}` },
    bosses: { relationship: 'many_to_one', sql: `${CUBE.boss_id} = ${bosses.id}` },
    salaries: { relationship: 'one_to_many', sql: `${CUBE}.id = ${salaries}.employee_id` },
  },
  dimensions: {
    id: { sql: 'id', type: 'number', primary_key: true },
    boss_id: { sql: 'boss_id', type: 'number' },
    name: { sql: 'name', type: 'string' },
    hired: { sql: `${CUBE}.hired::timestamptz`, type: 'time', granularities: { half: { interval: '6 months' }, decade: { interval: '1 year', offset: '-2 months' } } },
    left_on: { sql: `${CUBE}.left_on::timestamptz`, type: 'time' },
    tenure: { sql: yearsOf(CUBE), type: 'number' },
    active: { sql: `${isActive(CUBE)}`, type: 'boolean' },
    boss_name: { sql: `${bosses.name}`, type: 'string' },
    path: { sql: `${bosses.name} || '/' || ${name}`, type: 'string' },
    pay: { sql: `${salaries.current}`, type: 'number', sub_query: true },
    team: { sql: `${reports.headcount}`, type: 'number', sub_query: true },
    pay_band: { sql: `width_bucket(${pay}, 1000, 1600, 4)`, type: 'number' },
    is_lead: { type: 'string', case: { when: [{ sql: `${team} > 1`, label: 'lead' }, { sql: `${team} = 1`, label: 'mentor' }], else: { label: { sql: `lower(${bosses.name})` } } } },
  },
  measures: {
    headcount: { type: 'count' },
    leads: { type: 'count', filters: [{ sql: `${is_lead} = 'lead'` }] },
    leavers: { type: 'count', filters: [{ sql: `${left_on} IS NOT NULL` }] },
    payroll: { sql: `${pay}`, type: 'sum' },
    avg_pay: { sql: `${payroll} / NULLIF(${headcount}, 0)`, type: 'number', format: 'currency' },
    lead_share: { sql: `round(100.0 * ${leads} / NULLIF(${CUBE.headcount}, 0), 1)`, type: 'number' },
    boss_pay: { sql: `${bosses.pay_of_boss}`, type: 'max' },
    last_hire: { sql: `${hired}`, type: 'max' },
    names: { sql: `string_agg(${name}, ',' ORDER BY ${CUBE}.id)`, type: 'string' },
  },
  segments: { active_only: { sql: `${active}` }, with_boss: { sql: `${bosses.id} IS NOT NULL` } },
});
cube('bosses', {
  extends: employees,
  public: false,
  joins: { reports: { relationship: 'one_to_many', sql: `${CUBE}.id = ${reports.boss_id}` } },
  dimensions: { boss_name: { sql: `'nobody'`, type: 'string' }, path: { sql: `${name}`, type: 'string' }, pay: { sql: '1', type: 'number' }, team: { sql: '1', type: 'number' }, is_lead: { sql: `'x'`, type: 'string' }, pay_of_boss: { sql: `${salaries_of_bosses.top}`, type: 'number', sub_query: true } },
  measures: { boss_pay: { sql: '1', type: 'max' } },
});
cube('reports', { extends: bosses, dimensions: { pay_of_boss: { sql: '2', type: 'number' } } });
