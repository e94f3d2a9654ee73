SELECT CAST(DATE_FORMAT(CONVERT_TZ(`orders`.created_at, '+00:00', 'Europe/Berlin'), '%Y-%m-%d %H:%i:%s') AS DATETIME) `orders__created_at_second`, CAST(DATE(CONVERT_TZ(`orders`.created_at, '+00:00', 'Europe/Berlin')) - INTERVAL WEEKDAY(CONVERT_TZ(`orders`.created_at, '+00:00', 'Europe/Berlin')) DAY AS DATETIME) `orders__created_at_week`, CAST(MAKEDATE(YEAR(CONVERT_TZ(`orders`.created_at, '+00:00', 'Europe/Berlin')), 1) + INTERVAL QUARTER(CONVERT_TZ(`orders`.created_at, '+00:00', 'Europe/Berlin')) - 1 QUARTER AS DATETIME) `orders__created_at_quarter`, count(`orders`.id) `orders__count`
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
