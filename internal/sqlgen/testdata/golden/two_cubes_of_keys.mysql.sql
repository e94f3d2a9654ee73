SELECT q_0.`products__label` `products__label`, q_1.`users__credit` `users__credit`, q_2.`orders__average` `orders__average`, q_0.`items__revenue` `items__revenue`
FROM (SELECT `products`.label `products__label`, sum(`items`.qty * `products`.price) `items__revenue`
FROM public.orders AS `orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
LEFT JOIN public.line_items AS `items` ON `orders`.id = `items`.order_id
LEFT JOIN public.products AS `products` ON `items`.sku = `products`.sku
GROUP BY 1) AS q_0
INNER JOIN (SELECT `keys`.`products__label` `products__label`, sum(`users_key__users`.credit) `users__credit`
FROM (SELECT DISTINCT `users_key__products`.label `products__label`, `users_key__users`.id `key_0`
FROM public.orders AS `users_key__orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users_key__users` ON `users_key__orders`.user_id = `users_key__users`.id
LEFT JOIN public.line_items AS `users_key__items` ON `users_key__orders`.id = `users_key__items`.order_id
LEFT JOIN public.products AS `users_key__products` ON `users_key__items`.sku = `users_key__products`.sku) AS `keys`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users_key__users` ON `keys`.`key_0` = `users_key__users`.id
GROUP BY 1) AS q_1 ON (q_0.`products__label` = q_1.`products__label` OR (q_0.`products__label` IS NULL AND q_1.`products__label` IS NULL))
INNER JOIN (SELECT `keys`.`products__label` `products__label`, avg(`orders_key__orders`.amount) `orders__average`
FROM (SELECT DISTINCT `orders_key__products`.label `products__label`, `orders_key__orders`.id `key_0`
FROM public.orders AS `orders_key__orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `orders_key__users` ON `orders_key__orders`.user_id = `orders_key__users`.id
LEFT JOIN public.line_items AS `orders_key__items` ON `orders_key__orders`.id = `orders_key__items`.order_id
LEFT JOIN public.products AS `orders_key__products` ON `orders_key__items`.sku = `orders_key__products`.sku) AS `keys`
LEFT JOIN public.orders AS `orders_key__orders` ON `keys`.`key_0` = `orders_key__orders`.id
GROUP BY 1) AS q_2 ON (q_0.`products__label` = q_2.`products__label` OR (q_0.`products__label` IS NULL AND q_2.`products__label` IS NULL))
ORDER BY 2 DESC
LIMIT 10000
-- [7,7,7,7]
-- products__label string products.label
-- users__credit number users.credit
-- orders__average number orders.average
-- items__revenue number line_items.revenue
-- source default, order [{users.credit true}], fresh for 10s, since 2026-11-21T22:15:00Z
