SELECT CASE WHEN `orders`.amount >= 100 THEN 'big' WHEN `orders`.amount >= 10 THEN 'it''s \\ middling' ELSE 'small' END `orders__size`, `users`.country `orders__user_country`, EXTRACT(HOUR FROM CONVERT_TZ(`orders`.created_at, '+00:00', 'America/New_York')) `orders__hour`, CONVERT_TZ(`orders`.created_at, '+00:00', 'America/New_York') `orders__created_at`
FROM public.orders AS `orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
GROUP BY 1, 2, 3, 4
ORDER BY 1 ASC
LIMIT 5 OFFSET 10
-- [7]
select count(*) `total_count` from (SELECT CASE WHEN `orders`.amount >= 100 THEN 'big' WHEN `orders`.amount >= 10 THEN 'it''s \\ middling' ELSE 'small' END `orders__size`, `users`.country `orders__user_country`, EXTRACT(HOUR FROM CONVERT_TZ(`orders`.created_at, '+00:00', 'America/New_York')) `orders__hour`, CONVERT_TZ(`orders`.created_at, '+00:00', 'America/New_York') `orders__created_at`
FROM public.orders AS `orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
GROUP BY 1, 2, 3, 4) `original_query`
-- [7]
-- orders__size string orders.size
-- orders__user_country string orders.user_country
-- orders__hour number orders.hour
-- orders__created_at time orders.created_at
-- source default, order [{orders.size false}], fresh for 10s, since 2026-11-21T22:15:00Z
