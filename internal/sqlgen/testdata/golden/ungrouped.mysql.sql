SELECT `orders`.status `orders__status`, CASE WHEN (`orders`.id) IS NOT NULL THEN 1 END `orders__count`, `orders`.amount `orders__total`, CASE WHEN (`orders`.status = 'done') THEN CASE WHEN (`orders`.id) IS NOT NULL THEN 1 END END `orders__done`, 1.0 * (CASE WHEN (`orders`.status = 'done') THEN CASE WHEN (`orders`.id) IS NOT NULL THEN 1 END END) / NULLIF((CASE WHEN (`orders`.id) IS NOT NULL THEN 1 END), 0) `orders__done_share`
FROM public.orders AS `orders`
ORDER BY 1 ASC
LIMIT 10000
-- []
-- orders__status string orders.status
-- orders__count number orders.count
-- orders__total number orders.total
-- orders__done number orders.done
-- orders__done_share number orders.done_share
-- source default, order [{orders.status false}], fresh for 6h0m0s, since 2026-11-21T22:15:00Z
