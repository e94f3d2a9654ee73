package engine

import (
	"fmt"
	"strings"
)

// The shop's SQL. Numbers come from mix, an integer hash in plain arithmetic: the same on every machine and for every
// version of DuckDB. The first row of the orders is at midnight of 2024-01-01 UTC and the last before 2026-01-01.
const makeData = `
CREATE SCHEMA base;
CREATE MACRO base.mix_a(x) AS xor(x, x >> 15) * 668265263 % 4294967296;
CREATE MACRO base.mix_b(x) AS xor(x, x >> 13);
CREATE MACRO base.mix(i, salt) AS base.mix_b(base.mix_a((CAST(i AS BIGINT) * 2654435761 + CAST(salt AS BIGINT) * 374761393) % 4294967296));

CREATE TABLE base.customers AS
WITH c AS (
  SELECT i, CASE WHEN base.mix(i, 1) % 100 < 45 THEN 'EMEA' WHEN base.mix(i, 1) % 100 < 80 THEN 'AMER' ELSE 'APAC' END AS region
  FROM generate_series(1, {customers}) t(i)
)
SELECT CAST(i AS BIGINT) AS id,
  ['Aster', 'Birch', 'Cedar', 'Dahlia', 'Elm', 'Fern', 'Ginkgo', 'Hazel'][1 + base.mix(i, 2) % 8] || ' ' ||
    ['Foods', 'Logistics', 'Motors', 'Pharma', 'Retail', 'Software', 'Textiles'][1 + base.mix(i, 3) % 7] || ' ' || i AS name,
  'buyer' || i || '@example.com' AS email,
  ['consumer', 'small business', 'enterprise'][1 + base.mix(i, 4) % 3] AS segment,
  region,
  CASE region
    WHEN 'EMEA' THEN ['France', 'Germany', 'Italy', 'United Kingdom'][1 + base.mix(i, 5) % 4]
    WHEN 'AMER' THEN ['Brazil', 'Canada', 'Mexico', 'United States'][1 + base.mix(i, 5) % 4]
    ELSE ['Australia', 'India', 'Japan', 'Singapore'][1 + base.mix(i, 5) % 4] END AS country,
  DATE '2022-01-01' + CAST(base.mix(i, 6) % 730 AS INTEGER) AS since
FROM c;

CREATE TABLE base.orders AS
WITH o AS (
  SELECT CAST(i AS BIGINT) AS id, 1 + base.mix(i, 11) % {customers} AS customer_id,
    base.mix(i, 12) % 100 AS s, base.mix(i, 13) AS a, base.mix(i, 14) % 4 AS rep,
    CAST((i - 1) * 63158400.0 / {rows} AS BIGINT) AS second
  FROM generate_series(1, {rows}) t(i)
)
SELECT o.id, TIMESTAMP '2024-01-01 00:00:00' + to_seconds(o.second) AS created_at,
  CASE WHEN s < 70 THEN 'completed' WHEN s < 85 THEN 'shipped' WHEN s < 93 THEN 'processing' WHEN s < 98 THEN 'cancelled' ELSE 'returned' END AS status,
  CAST((500 + a % 20000 + CASE WHEN a % 10 = 0 THEN a % 200000 ELSE 0 END) / 100 AS DECIMAL(12,2)) AS amount,
  c.region, c.country, o.customer_id,
  lower(c.region) || '_rep_' || (1 + rep) AS sales_rep
FROM o JOIN base.customers c ON c.id = o.customer_id
ORDER BY o.id;

CREATE TABLE base.order_items AS
SELECT (o.id - 1) * 3 + n AS id, o.id AS order_id,
  ['Anchor', 'Bracket', 'Coupling', 'Dowel', 'Engine', 'Flange'][1 + base.mix(o.id * 3 + n, 21) % 6] AS product,
  CAST(1 + base.mix(o.id * 3 + n, 22) % 5 AS INTEGER) AS quantity,
  CAST((100 + base.mix(o.id * 3 + n, 23) % 9900) / 100 AS DECIMAL(10,2)) AS unit_price, o.region
FROM base.orders o, generate_series(1, 3) g(n)
WHERE o.id <= 10000 AND n <= 1 + o.id % 3
ORDER BY 1;

CREATE TABLE base.rights (name VARCHAR, region VARCHAR);
`

// The functions and types that the warehouses have and DuckDB lacks, in the schema of each dialect. The macros with the
// names of operators are LIKE and its kin: in Databricks the backslash escapes in every pattern. DuckDB's TIMESTAMPTZ
// is an instant without a zone, so CONVERT_TIMEZONE gives the wall clock at once; casting that to timestamp_ntz, as
// one must in Snowflake, then changes nothing.
const (
	databricksMacros = `
CREATE MACRO "default".from_utc_timestamp(ts, tz) AS timezone(tz, timezone('UTC', CAST(ts AS TIMESTAMP)));
CREATE MACRO "default".to_utc_timestamp(ts, tz) AS timezone('UTC', timezone(tz, CAST(ts AS TIMESTAMP)));
CREATE MACRO "default".current_user() AS getvariable('app_user');
CREATE MACRO "default".session_user() AS getvariable('app_user');
CREATE MACRO "default".current_catalog() AS 'demo';
CREATE MACRO "default".current_schema() AS 'default';
CREATE MACRO "default"."~~"(a, b) AS like_escape(a, b, '\');
CREATE MACRO "default"."!~~"(a, b) AS not_like_escape(a, b, '\');
CREATE MACRO "default"."~~*"(a, b) AS ilike_escape(a, b, '\');
CREATE MACRO "default"."!~~*"(a, b) AS not_ilike_escape(a, b, '\');
CREATE MACRO "default".nvl(a, b) AS coalesce(a, b);
`
	snowflakeMacros = `
CREATE MACRO public.convert_timezone(tz, ts) AS timezone(tz, CAST(ts AS TIMESTAMPTZ)),
  (src, dst, ts) AS timezone(dst, timezone(src, CAST(ts AS TIMESTAMP)));
CREATE MACRO public.current_user() AS upper(getvariable('app_user'));
CREATE MACRO public.current_role() AS nullif(getvariable('app_role'), '');
CREATE MACRO public.current_secondary_roles() AS getvariable('app_secondary_roles');
CREATE MACRO public.current_database() AS 'DEMO';
CREATE MACRO public.current_schema() AS 'PUBLIC';
CREATE MACRO public.current_version() AS '9.0.0';
CREATE MACRO public.iff(c, a, b) AS CASE WHEN c THEN a ELSE b END;
CREATE MACRO public.nvl(a, b) AS coalesce(a, b);
CREATE MACRO public.to_varchar(a) AS CAST(a AS VARCHAR);
CREATE TYPE public.timestamp_ntz AS TIMESTAMP;
CREATE TYPE public.timestamp_ltz AS TIMESTAMPTZ;
CREATE TYPE public.timestamp_tz AS TIMESTAMPTZ;
`
)

var columns = map[string][]string{
	"customers":   {"id", "name", "email", "segment", "region", "country", "since"},
	"orders":      {"id", "created_at", "status", "amount", "region", "country", "customer_id", "sales_rep"},
	"order_items": {"id", "order_id", "product", "quantity", "unit_price", "region"},
}

// setup returns the statements that make a shop of n orders.
func setup(n int) string {
	var b strings.Builder
	b.WriteString("ATTACH ':memory:' AS demo; USE demo;")
	b.WriteString(strings.NewReplacer("{rows}", fmt.Sprint(n), "{customers}", fmt.Sprint(max(n/200, 50))).Replace(makeData))
	b.WriteString(`CREATE SCHEMA "default"; CREATE SCHEMA public;`)
	b.WriteString(databricksMacros)
	b.WriteString(snowflakeMacros)
	for _, d := range []Dialect{Databricks, Snowflake} {
		for _, table := range Tables() {
			b.WriteString(view(d, table))
		}
	}
	return b.String()
}

// view makes table for the statements of d: scratch as it is, of the others the rows of the regions that the identity of the connection has rights to, and
// in Snowflake with the names of columns in capitals, as that warehouse keeps them.
func view(d Dialect, table string) string {
	if table == "scratch" {
		return fmt.Sprintf("CREATE TABLE %s.scratch (id BIGINT, note VARCHAR, amount DECIMAL(12,2), noted_at TIMESTAMP);\n", ident(d.schema()))
	}
	names := make([]string, len(columns[table]))
	for i, c := range columns[table] {
		names[i] = "t." + ident(c)
		if d == Snowflake {
			names[i] += " AS " + ident(strings.ToUpper(c))
		}
	}
	return fmt.Sprintf("CREATE VIEW %s.%s AS SELECT %s FROM demo.base.%s t"+
		" WHERE t.region IN (SELECT r.region FROM demo.base.rights r WHERE r.name = getvariable('app_user'));\n",
		ident(d.schema()), table, strings.Join(names, ", "), table)
}
