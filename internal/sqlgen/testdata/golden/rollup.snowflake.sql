SELECT CONVERT_TIMEZONE('America/New_York', (SELECT DATE '2024-01-01')::timestamp_tz)::timestamp_ntz
-- []
SELECT max(CONVERT_TIMEZONE('America/New_York', "orders".created_at::timestamp_tz)::timestamp_ntz)
FROM orders AS "orders"
-- []
SELECT "orders".status "orders__status", "orders".kind "orders__kind", CASE WHEN "orders".amount >= 100 THEN 'big' WHEN "orders".amount >= 10 THEN 'it''s \\ middling' ELSE 'small' END "orders__size", "orders".amount "orders__amount", "orders".amount > 50 "orders__big", "users".country "users__country", "users".age "users__age", "users".vip "users__vip", date_trunc('DAY', CONVERT_TIMEZONE('America/New_York', "orders".created_at::timestamp_tz)::timestamp_ntz) "orders__created_at_day", CASE WHEN "orders".status = 'done' THEN TRUE ELSE FALSE END "orders__done_only", CASE WHEN "orders".amount >= 40 THEN TRUE ELSE FALSE END "orders__large", count("orders".id) "orders__count", sum("orders".amount) "orders__total", min("orders".amount) "orders__lowest", max("orders".amount) "orders__highest", count(CASE WHEN ("orders".status = 'done') THEN "orders".id END) "orders__done", sum(CASE WHEN ("orders".status = 'done') THEN "orders".amount END) "orders__done_total", count("orders".user_id) "orders__with_user", (sum("orders".amount) / NULLIF(count("orders".id), 0)) "orders__each", ((100 * count(CASE WHEN ("orders".status = 'done') THEN "orders".id END)) / NULLIF(count("orders".id), 0)) "orders__whole_share"
FROM orders AS "orders"
LEFT JOIN (SELECT * FROM users WHERE tenant_id = ?) AS "users" ON "orders".user_id = "users".id
WHERE "orders".created_at >= ?::timestamp_tz AND "orders".created_at < ?::timestamp_tz
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
-- [7 2024-02-01T05:00:00.000Z 2024-03-01T05:00:00.000Z]
SELECT "orders__main"."users__vip" "users__vip", date_trunc('week', "orders__main"."orders__created_at_day") "orders__created_at_week", CAST(COALESCE(sum("orders__main"."orders__count"), 0) AS BIGINT) "orders__count", sum("orders__main"."orders__total") "orders__total", min("orders__main"."orders__lowest") "orders__lowest"
FROM "orders__main"
WHERE ("orders__main"."orders__created_at_day" >= ?::timestamp AND "orders__main"."orders__created_at_day" <= ?::timestamp) AND "orders__main"."orders__large" AND ("orders__main"."users__age" >= ?)
GROUP BY 1, 2 HAVING (sum("orders__main"."orders__total") > ?)
ORDER BY 4 DESC NULLS FIRST, 1 ASC NULLS LAST
LIMIT 5 OFFSET 1
-- [2024-01-01T00:00:00.000 2024-03-31T23:59:59.999 18 10]
select count(*) "total_count" from (SELECT "orders__main"."users__vip" "users__vip", date_trunc('week', "orders__main"."orders__created_at_day") "orders__created_at_week", CAST(COALESCE(sum("orders__main"."orders__count"), 0) AS BIGINT) "orders__count", sum("orders__main"."orders__total") "orders__total", min("orders__main"."orders__lowest") "orders__lowest"
FROM "orders__main"
WHERE ("orders__main"."orders__created_at_day" >= ?::timestamp AND "orders__main"."orders__created_at_day" <= ?::timestamp) AND "orders__main"."orders__large" AND ("orders__main"."users__age" >= ?)
GROUP BY 1, 2 HAVING (sum("orders__main"."orders__total") > ?)) "original_query"
-- [2024-01-01T00:00:00.000 2024-03-31T23:59:59.999 18 10]
-- orders__status string
-- orders__kind string
-- orders__size string
-- orders__amount number
-- orders__big boolean
-- users__country string
-- users__age number
-- users__vip boolean
-- orders__created_at_day time
-- orders__done_only boolean
-- orders__large boolean
-- orders__count number
-- orders__total number
-- orders__lowest 
-- orders__highest 
-- orders__done number
-- orders__done_total number
-- orders__with_user number
-- orders__each number
-- orders__whole_share number
