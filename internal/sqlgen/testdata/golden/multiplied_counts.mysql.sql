SELECT count(distinct `orders`.id) `orders__count`, max(`orders`.amount) `orders__highest`, COUNT(DISTINCT `orders`.user_id) `orders__users`, count(CONCAT(CAST(`items`.order_id AS CHAR), CAST(`items`.line AS CHAR))) `items__count`
FROM public.orders AS `orders`
LEFT JOIN public.line_items AS `items` ON `orders`.id = `items`.order_id
LIMIT 10000
-- []
-- orders__count number orders.count
-- orders__highest number orders.highest
-- orders__users number orders.users
-- items__count number line_items.count
-- source default, order [], fresh for 10s, since 2026-11-21T22:15:00Z
