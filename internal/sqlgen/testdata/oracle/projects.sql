-- Events of a product, with properties in JSON.
CREATE TABLE events (id int PRIMARY KEY, user_id int, session text, name text, props jsonb, at timestamptz);
INSERT INTO events
SELECT g, 1 + g * 11 % 44, 's' || g / 4, (ARRAY['visit', 'signup', 'pay', 'visit', 'leave'])[1 + g % 5],
	CASE WHEN g % 17 = 0 THEN NULL ELSE jsonb_build_object('plan', (ARRAY['free', 'pro', NULL])[1 + g % 3], 'amount', g % 40 * 1.25, 'utm', jsonb_build_object('source', (ARRAY['ad', 'mail', 'web'])[1 + g % 3]), 'tags', jsonb_build_array('t' || g % 4, 't' || g % 3)) END,
	timestamptz '2024-02-20 03:00:00Z' + g * interval '3 hours 7 minutes'
FROM generate_series(1, 400) g;

-- A ledger of accounts in a tree, in several currencies, with rates that hold for a time.
CREATE TABLE accounts (id int PRIMARY KEY, parent_id int, code text, currency text, owner_id int);
INSERT INTO accounts SELECT g, NULLIF(g / 3, 0), 'A' || lpad(g::text, 3, '0'), (ARRAY['EUR', 'USD', 'JPY', NULL])[1 + g % 4], 1 + g % 12 FROM generate_series(1, 24) g;
CREATE TABLE entries (id int PRIMARY KEY, account_id int, day date, debit numeric, credit numeric, memo text);
INSERT INTO entries SELECT g, 1 + g * 5 % 26, date '2024-01-01' + g % 200, CASE WHEN g % 2 = 0 THEN g * 3 % 97 END, CASE WHEN g % 2 = 1 THEN g * 7 % 89 END, CASE g % 6 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'fee' WHEN 3 THEN 'Fee late' ELSE 'rent ' || g % 3 END FROM generate_series(1, 320) g;
CREATE TABLE rates (currency text, valid_from date, valid_to date, rate numeric);
INSERT INTO rates VALUES ('EUR', '2024-01-01', NULL, 1), ('USD', '2024-01-01', '2024-03-15', 0.91), ('USD', '2024-03-15', NULL, 0.93), ('JPY', '2024-01-01', '2024-05-01', 0.0063);

-- People of a company, who report to one another, and what they earned from when to when.
CREATE TABLE departments (id int PRIMARY KEY, parent_id int, name text);
INSERT INTO departments VALUES (1, NULL, 'All'), (2, 1, 'Sales'), (3, 1, 'Tech'), (4, 3, 'Ops'), (5, 3, NULL);
CREATE TABLE employees (id int PRIMARY KEY, boss_id int, department_id int, name text, hired date, left_on date);
INSERT INTO employees SELECT g, NULLIF(g / 2, 0), CASE WHEN g % 8 = 0 THEN NULL ELSE 1 + g % 6 END, 'E' || g, date '2020-01-15' + g * 40, CASE WHEN g % 5 = 0 THEN date '2024-01-15' + g * 9 END FROM generate_series(1, 30) g;
CREATE TABLE salaries (employee_id int, valid_from date, valid_to date, amount numeric, PRIMARY KEY (employee_id, valid_from));
INSERT INTO salaries SELECT e, date '2023-01-01' + n * 181, CASE WHEN n < 2 THEN date '2023-01-01' + (n + 1) * 181 END, 1000 + e * 37 % 400 + n * 50 FROM generate_series(1, 28) e, generate_series(0, 2) n;
