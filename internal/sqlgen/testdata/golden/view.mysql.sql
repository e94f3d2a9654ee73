SELECT `users`.country `sales__users_country`, CAST(DATE_FORMAT(CONVERT_TZ(`orders`.created_at, '+00:00', '+00:00'), '%Y-01-01 00:00:00') AS DATETIME) `sales__ordered_at_year`, sum(`orders`.amount) `sales__total`
FROM public.orders AS `orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
WHERE (`orders`.status = 'done')
GROUP BY 1, 2
ORDER BY 3 DESC, 2 ASC
LIMIT 10000
-- [7]
-- sales__users_country string sales.users_country
-- sales__ordered_at_year time sales.ordered_at.year sales.ordered_at
-- sales__total number sales.total
-- source default, order [{sales.total true} {sales.ordered_at false}], fresh for 10s, since 2026-11-21T22:15:00Z
