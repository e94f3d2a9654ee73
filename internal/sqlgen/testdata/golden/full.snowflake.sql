SELECT "orders".status "orders__status", date_trunc('MONTH', CONVERT_TIMEZONE('UTC', "orders".created_at::timestamp_tz)::timestamp_ntz) "orders__created_at_month", count("orders".id) "orders__count", sum("orders".amount) "orders__total"
FROM public.orders AS "orders"
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS "users" ON "orders".user_id = "users".id
WHERE ("orders".created_at >= ?::timestamp_tz AND "orders".created_at <= ?::timestamp_tz) AND ("orders".status = 'done') AND ("users".country = ?)
GROUP BY 1, 2 HAVING (sum("orders".amount) > ?)
ORDER BY 2 ASC
LIMIT 10000
-- [7,"2024-01-01T00:00:00.000Z","2024-03-31T23:59:59.999Z","DE",10]
-- orders__status string orders.status
-- orders__created_at_month time orders.created_at.month orders.created_at
-- orders__count number orders.count
-- orders__total number orders.total
-- source default, order [{orders.created_at.month false}], fresh for 2m0s, since 2026-11-21T22:15:00Z
