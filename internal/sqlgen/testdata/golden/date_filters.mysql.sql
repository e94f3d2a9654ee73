SELECT count(`orders`.id) `orders__count`
FROM public.orders AS `orders`
WHERE (`orders`.created_at >= CAST(? AS DATETIME(3)) AND `orders`.created_at <= CAST(? AS DATETIME(3))) AND (`orders`.created_at < CAST(? AS DATETIME(3)) OR `orders`.created_at > CAST(? AS DATETIME(3))) AND (`orders`.created_at >= CAST(? AS DATETIME(3)) AND `orders`.created_at <= CAST(? AS DATETIME(3))) AND (`orders`.created_at < CAST(? AS DATETIME(3))) AND (`orders`.created_at <= CAST(? AS DATETIME(3))) AND (`orders`.created_at > CAST(? AS DATETIME(3))) AND (`orders`.created_at >= CAST(? AS DATETIME(3)))
LIMIT 10000
-- ["2026-01-01T05:00:00.000","2026-02-01T04:59:59.999","2026-10-01T04:00:00.000","2026-11-01T03:59:59.999","2026-01-05T05:00:00.000","2026-01-06T04:59:59.999","2026-01-05T05:00:00.000","2026-01-06T04:59:59.999","2026-01-06T04:59:59.999","2026-11-21T05:00:00.000"]
-- orders__count number orders.count
-- source default, order [], fresh for 6h0m0s, since 2026-11-21T22:15:00Z
