SELECT date_trunc('second', from_utc_timestamp(`orders`.created_at, 'Europe/Berlin')) `orders__created_at_second`, date_trunc('week', from_utc_timestamp(`orders`.created_at, 'Europe/Berlin')) `orders__created_at_week`, date_trunc('quarter', from_utc_timestamp(`orders`.created_at, 'Europe/Berlin')) `orders__created_at_quarter`, count(`orders`.id) `orders__count`
FROM public.orders AS `orders`
GROUP BY 1, 2, 3
ORDER BY 1 ASC
LIMIT 10000
-- []
-- orders__created_at_second time orders.created_at.second orders.created_at
-- orders__created_at_week time orders.created_at.week
-- orders__created_at_quarter time orders.created_at.quarter
-- orders__count number orders.count
-- source default, order [{orders.created_at.second false}], fresh for 6h0m0s, since 2026-11-21T22:15:00Z
