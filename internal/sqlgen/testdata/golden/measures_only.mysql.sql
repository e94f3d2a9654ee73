SELECT count(`orders`.id) `orders__count`, count(CASE WHEN (`orders`.status = 'done') THEN `orders`.id END) `orders__done`, sum(CASE WHEN (`orders`.status = 'done') AND (`orders`.amount > 0) THEN `orders`.amount END) `orders__done_total`, 1.0 * count(CASE WHEN (`orders`.status = 'done') THEN `orders`.id END) / NULLIF(count(`orders`.id), 0) `orders__done_share`, 2 * (1.0 * count(CASE WHEN (`orders`.status = 'done') THEN `orders`.id END) / NULLIF(count(`orders`.id), 0)) `orders__twice_share`, COUNT(DISTINCT `orders`.user_id) `orders__users`, COUNT(DISTINCT `orders`.user_id) `orders__users_about`, MAX(`orders`.amount) - MIN(`orders`.amount) `orders__spread`
FROM public.orders AS `orders`
LIMIT 10000
-- []
-- orders__count number orders.count
-- orders__done number orders.done
-- orders__done_total number orders.done_total
-- orders__done_share number orders.done_share
-- orders__twice_share number orders.twice_share
-- orders__users number orders.users
-- orders__users_about number orders.users_about
-- orders__spread number orders.spread
-- source default, order [], fresh for 6h0m0s, since 2026-11-21T22:15:00Z
