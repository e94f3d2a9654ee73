-- The rows that our SQL and Cube's are both asked about. Nothing is random: what differs, differs again.
CREATE TABLE countries (code text PRIMARY KEY, name text, continent text, lat numeric, lng numeric);
INSERT INTO countries VALUES ('DE', 'Germany', 'Europe', 52.5, 13.4), ('FR', 'France', 'Europe', 48.85, 2.35), ('US', 'United States', 'America', 38.9, -77.04),
	('JP', 'Japan', 'Asia', 35.7, 139.7), ('BR', 'Brazil', 'America', NULL, NULL), ('ZZ', NULL, NULL, 0, 0);

CREATE TABLE users (id int PRIMARY KEY, tenant_id int, country text, name text, age int, vip boolean, credit numeric, manager_id int, signed_up timestamp);
INSERT INTO users
SELECT g, 7 + g % 3, (ARRAY['DE', 'FR', 'US', 'JP', NULL, 'XX'])[1 + g % 6], CASE g % 9 WHEN 0 THEN NULL WHEN 1 THEN 'O''Hara' WHEN 2 THEN '100%' WHEN 3 THEN 'a_b'
	WHEN 4 THEN 'back\slash' WHEN 5 THEN 'Ümlaut "quoted"' ELSE 'User ' || g END, CASE WHEN g % 7 = 0 THEN NULL ELSE 18 + g % 50 END,
	CASE g % 5 WHEN 0 THEN NULL ELSE g % 2 = 0 END, g * 10.25, NULLIF(g / 4, 0), timestamp '2023-06-01' + g * interval '5 days 3 hours'
FROM generate_series(1, 40) g;

CREATE TABLE orders (id int PRIMARY KEY, user_id int, status text, kind text, region text, amount numeric, discount float8, created_at timestamp, shipped_at timestamptz, paid boolean);
INSERT INTO orders
SELECT g, CASE WHEN g % 11 = 0 THEN NULL ELSE 1 + g * 7 % 43 END, (ARRAY['done', 'open', 'void', 'Done', NULL])[1 + g % 5], (ARRAY['a', 'b', 'c'])[1 + g / 5 % 3],
	(ARRAY['eu', 'us', NULL])[1 + g % 3], CASE WHEN g % 13 = 0 THEN NULL ELSE (g * 37 % 500) + 0.5 END, (g % 8) / 8.0,
	timestamp '2024-01-01 00:10:00' + g * interval '29 hours 17 minutes 13.25 seconds', CASE WHEN g % 4 = 0 THEN NULL ELSE timestamptz '2024-01-02 08:00:00Z' + g * interval '31 hours' END, g % 3 = 0
FROM generate_series(1, 290) g;
-- Around the nights on which clocks change in New York, Berlin and on Lord Howe Island, and around the ends of days, weeks and years.
INSERT INTO orders
SELECT 1000 + n, 1 + n % 40, 'done', 'z', 'eu', n * 1000, 0, at::timestamp, at::timestamptz, true
FROM unnest(ARRAY['2024-03-10 06:59:59.999', '2024-03-10 07:00:00', '2024-03-10 04:59:59', '2024-03-10 05:00:00', '2024-03-11 03:59:59.999', '2024-03-11 04:00:00', '2024-11-03 03:59:59', '2024-11-03 04:00:00',
	'2024-11-03 05:30:00', '2024-11-03 06:30:00', '2024-11-04 04:59:59.999', '2024-11-04 05:00:00', '2024-03-31 00:59:59', '2024-03-31 01:00:00', '2024-03-30 23:00:00',
	'2024-03-31 21:59:59.5', '2024-03-31 22:00:00', '2024-10-27 00:30:00', '2024-10-27 01:30:00', '2024-10-26 22:00:00', '2024-10-27 22:59:59', '2024-10-27 23:00:00', '2024-04-06 14:30:00', '2024-04-06 15:00:00',
	'2024-10-05 15:30:00', '2023-12-31 23:59:59.999', '2024-01-01 00:00:00', '2024-12-30 00:00:00', '2024-12-31 23:59:59.999', '2024-02-29 12:00:00', '2024-06-30 18:14:59.999', '2024-06-30 18:15:00'])
	WITH ORDINALITY AS t (at, n);

CREATE TABLE line_items (order_id int, line int, sku text, qty int, PRIMARY KEY (order_id, line));
INSERT INTO line_items
SELECT o, l, CASE WHEN (o + l) % 9 = 0 THEN NULL ELSE 'p' || (o * 3 + l) % 11 END, 1 + (o + l * 5) % 6 FROM generate_series(1, 280) o, generate_series(1, 3) l WHERE l <= o % 4;

CREATE TABLE products (sku text PRIMARY KEY, label text, price numeric);
INSERT INTO products SELECT 'p' || g, CASE g % 4 WHEN 0 THEN NULL WHEN 1 THEN 'toy' WHEN 2 THEN 'book' ELSE 'food' END, g * 1.5 FROM generate_series(0, 12) g;

CREATE TABLE payments (id int PRIMARY KEY, order_id int, method text, amount numeric, paid_at timestamptz);
INSERT INTO payments SELECT g, 1 + g * 3 % 290, (ARRAY['card', 'cash', NULL])[1 + g % 3], g % 50 + 0.25, timestamptz '2024-02-01 12:00:00Z' + g * interval '17 hours' FROM generate_series(1, 250) g;

CREATE TABLE reviews (id int PRIMARY KEY, user_id int, sku text, stars int);
INSERT INTO reviews SELECT g, 1 + g * 5 % 42, 'p' || g % 13, CASE WHEN g % 10 = 0 THEN NULL ELSE 1 + g % 5 END FROM generate_series(1, 120) g;

-- A stand-in for the extension hll, whose sketches count exactly.
CREATE FUNCTION hll_hash_any(anyelement) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $1::text';
CREATE FUNCTION hll_append(text[], text) RETURNS text[] LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN $2 IS NULL THEN $1 ELSE $1 || $2 END';
CREATE AGGREGATE hll_add_agg(text) (SFUNC = hll_append, STYPE = text[], INITCOND = '{}');
CREATE FUNCTION hll_cardinality(text[]) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT count(DISTINCT x)::float8 FROM unnest($1) x';
