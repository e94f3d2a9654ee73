SELECT q_0.`items__sku` `items__sku`, 1.0 * q_0.`orders__done` / NULLIF(q_0.`orders__count`, 0) `orders__done_share`, q_1.`orders__spread` `orders__spread`
FROM (SELECT `items`.sku `items__sku`, count(distinct CASE WHEN (`orders`.status = 'done') THEN `orders`.id END) `orders__done`, count(distinct `orders`.id) `orders__count`
FROM public.orders AS `orders`
LEFT JOIN public.line_items AS `items` ON `orders`.id = `items`.order_id
GROUP BY 1) AS q_0
INNER JOIN (SELECT `keys`.`items__sku` `items__sku`, MAX(`orders_key__orders`.amount) - MIN(`orders_key__orders`.amount) `orders__spread`
FROM (SELECT DISTINCT `orders_key__items`.sku `items__sku`, `orders_key__orders`.id `key_0`
FROM public.orders AS `orders_key__orders`
LEFT JOIN public.line_items AS `orders_key__items` ON `orders_key__orders`.id = `orders_key__items`.order_id) AS `keys`
LEFT JOIN public.orders AS `orders_key__orders` ON `keys`.`key_0` = `orders_key__orders`.id
GROUP BY 1) AS q_1 ON (q_0.`items__sku` = q_1.`items__sku` OR (q_0.`items__sku` IS NULL AND q_1.`items__sku` IS NULL))
ORDER BY 2 DESC
LIMIT 10000
-- []
-- items__sku string line_items.sku
-- orders__done_share number orders.done_share
-- orders__spread number orders.spread
-- source default, order [{orders.done_share true}], fresh for 10s, since 2026-11-21T22:15:00Z
