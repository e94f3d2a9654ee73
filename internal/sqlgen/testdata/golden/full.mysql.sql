SELECT `orders`.status `orders__status`, CAST(DATE_FORMAT(CONVERT_TZ(`orders`.created_at, '+00:00', '+00:00'), '%Y-%m-01 00:00:00') AS DATETIME) `orders__created_at_month`, count(`orders`.id) `orders__count`, sum(`orders`.amount) `orders__total`
FROM public.orders AS `orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
WHERE (`orders`.created_at >= CAST(? AS DATETIME(3)) AND `orders`.created_at <= CAST(? AS DATETIME(3))) AND (`orders`.status = 'done') AND ((`users`.country = ? AND (CONCAT(`users`.country, '') IN (?))))
GROUP BY 1, 2 HAVING (sum(`orders`.amount) > CAST(? AS SIGNED))
ORDER BY 2 ASC
LIMIT 10000
-- [7,"2024-01-01T00:00:00.000","2024-03-31T23:59:59.999","DE","DE",10]
-- orders__status string orders.status
-- orders__created_at_month time orders.created_at.month orders.created_at
-- orders__count number orders.count
-- orders__total number orders.total
-- source default, order [{orders.created_at.month false}], fresh for 10s, since 2026-11-21T22:15:00Z
