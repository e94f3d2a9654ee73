SELECT q_0."orders__kind" "orders__kind", q_0."orders__created_at_day" "orders__created_at_day", q_0."orders__days2" "orders__days2", q_0."orders__ever" "orders__ever", q_1."orders__total" "orders__total"
FROM (SELECT "base"."orders__kind" "orders__kind", "series"."orders__created_at_day" "orders__created_at_day", sum(CASE WHEN "base"."at" >= "series"."from_0" AND "base"."at" < "series"."to_0" THEN "base"."value_0" END) "orders__days2", sum(CASE WHEN "base"."at" < "series"."to_1" THEN "base"."value_1" END) "orders__ever"
FROM (SELECT "orders__created_at_day"::timestamp AS "orders__created_at_day", "from_0"::timestamp AS "from_0", "to_0"::timestamp AS "to_0", "to_1"::timestamp AS "to_1", "from_2"::timestamp AS "from_2", "to_2"::timestamp AS "to_2" FROM (VALUES ('2024-11-03T00:00:00.000', '2024-11-02T00:00:00.000', '2024-11-04T00:00:00.000', '2024-11-04T00:00:00.000', '2024-11-03T00:00:00.000', '2024-11-04T00:00:00.000'), ('2024-11-04T00:00:00.000', '2024-11-03T00:00:00.000', '2024-11-05T00:00:00.000', '2024-11-05T00:00:00.000', '2024-11-04T00:00:00.000', '2024-11-05T00:00:00.000'), ('2024-11-05T00:00:00.000', '2024-11-04T00:00:00.000', '2024-11-06T00:00:00.000', '2024-11-06T00:00:00.000', '2024-11-05T00:00:00.000', '2024-11-06T00:00:00.000')) AS "dates" ("orders__created_at_day", "from_0", "to_0", "to_1", "from_2", "to_2")) AS "series"
LEFT JOIN (SELECT "orders__kind", date_trunc('day', "at") "at", sum("value_0") "value_0", sum("value_1") "value_1"
FROM (SELECT "orders".kind "orders__kind", ("orders".created_at::timestamptz AT TIME ZONE 'UTC') "at", "orders".amount "value_0", "orders".amount "value_1"
FROM orders AS "orders"
WHERE ("orders".created_at <= $1::timestamptz)) AS "rows"
GROUP BY 1, 2) AS "base" ON ("base"."at" >= "series"."from_0" AND "base"."at" < "series"."to_0") OR ("base"."at" < "series"."to_1") OR ("base"."at" >= "series"."from_2" AND "base"."at" < "series"."to_2")
GROUP BY 1, 2) AS q_0
LEFT JOIN (SELECT "orders".kind "orders__kind", date_trunc('day', ("orders".created_at::timestamptz AT TIME ZONE 'UTC')) "orders__created_at_day", sum("orders".amount) "orders__total"
FROM orders AS "orders"
WHERE ("orders".created_at >= $2::timestamptz AND "orders".created_at <= $3::timestamptz)
GROUP BY 1, 2) AS q_1 ON (q_0."orders__kind" = q_1."orders__kind" OR (q_0."orders__kind" IS NULL AND q_1."orders__kind" IS NULL)) AND (q_0."orders__created_at_day" = q_1."orders__created_at_day" OR (q_0."orders__created_at_day" IS NULL AND q_1."orders__created_at_day" IS NULL))
ORDER BY 2 ASC, 1 ASC
LIMIT 10000
-- ["2024-11-05T23:59:59.999Z","2024-11-03T00:00:00.000Z","2024-11-05T23:59:59.999Z"]
-- orders__kind string orders.kind
-- orders__created_at_day time orders.created_at.day orders.created_at
-- orders__days2 number orders.days2
-- orders__ever number orders.ever
-- orders__total number orders.total
-- source default, order [{orders.created_at false} {orders.kind false}], fresh for 10s
