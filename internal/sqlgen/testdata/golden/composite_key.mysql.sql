SELECT `orders`.status `orders__status`, count(CONCAT(CAST(`items`.order_id AS CHAR), CAST(`items`.line AS CHAR))) `items__count`
FROM public.orders AS `orders`
LEFT JOIN public.line_items AS `items` ON `orders`.id = `items`.order_id
GROUP BY 1
ORDER BY 2 DESC
LIMIT 10000
-- []
-- orders__status string orders.status
-- items__count number line_items.count
-- source default, order [{line_items.count true}], fresh for 10s, since 2026-11-21T22:15:00Z
