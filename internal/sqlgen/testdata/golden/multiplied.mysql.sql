SELECT q_0.`users__country` `users__country`, q_0.`orders__created_at_day` `orders__created_at_day`, q_1.`orders__total` `orders__total`, q_0.`orders__count` `orders__count`, q_0.`items__qty` `items__qty`
FROM (SELECT `users`.country `users__country`, CAST(DATE_FORMAT(CONVERT_TZ(`orders`.created_at, '+00:00', '+00:00'), '%Y-%m-%d 00:00:00') AS DATETIME) `orders__created_at_day`, count(distinct `orders`.id) `orders__count`, sum(`items`.qty) `items__qty`
FROM public.orders AS `orders`
LEFT JOIN public.line_items AS `items` ON `orders`.id = `items`.order_id
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
WHERE (`orders`.created_at >= CAST(? AS DATETIME(3)) AND `orders`.created_at <= CAST(? AS DATETIME(3))) AND (`items`.sku IS NOT NULL)
GROUP BY 1, 2) AS q_0
INNER JOIN (SELECT `keys`.`users__country` `users__country`, `keys`.`orders__created_at_day` `orders__created_at_day`, sum(`orders_key__orders`.amount) `orders__total`
FROM (SELECT DISTINCT `orders_key__users`.country `users__country`, CAST(DATE_FORMAT(CONVERT_TZ(`orders_key__orders`.created_at, '+00:00', '+00:00'), '%Y-%m-%d 00:00:00') AS DATETIME) `orders__created_at_day`, `orders_key__orders`.id `key_0`
FROM public.orders AS `orders_key__orders`
LEFT JOIN public.line_items AS `orders_key__items` ON `orders_key__orders`.id = `orders_key__items`.order_id
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `orders_key__users` ON `orders_key__orders`.user_id = `orders_key__users`.id
WHERE (`orders_key__orders`.created_at >= CAST(? AS DATETIME(3)) AND `orders_key__orders`.created_at <= CAST(? AS DATETIME(3))) AND (`orders_key__items`.sku IS NOT NULL)) AS `keys`
LEFT JOIN public.orders AS `orders_key__orders` ON `keys`.`key_0` = `orders_key__orders`.id
GROUP BY 1, 2) AS q_1 ON (q_0.`users__country` = q_1.`users__country` OR (q_0.`users__country` IS NULL AND q_1.`users__country` IS NULL)) AND (q_0.`orders__created_at_day` = q_1.`orders__created_at_day` OR (q_0.`orders__created_at_day` IS NULL AND q_1.`orders__created_at_day` IS NULL))
WHERE (q_1.`orders__total` >= CAST(? AS DECIMAL(65, 30)))
ORDER BY 2 ASC
LIMIT 10000
-- [7,"2026-11-14T00:00:00.000","2026-11-20T23:59:59.999",7,"2026-11-14T00:00:00.000","2026-11-20T23:59:59.999","1.5"]
-- users__country string users.country
-- orders__created_at_day time orders.created_at.day orders.created_at
-- orders__total number orders.total
-- orders__count number orders.count
-- items__qty number line_items.qty
-- source default, order [{orders.created_at.day false}], fresh for 10s, since 2026-11-21T22:15:00Z
