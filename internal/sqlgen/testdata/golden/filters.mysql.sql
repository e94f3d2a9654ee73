SELECT count(`orders`.id) `orders__count`
FROM public.orders AS `orders`
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = ?) AS `users` ON `orders`.user_id = `users`.id
WHERE ((LOWER(`orders`.status) LIKE CONCAT('%', LOWER(?), '%') OR LOWER(`orders`.status) LIKE CONCAT('%', LOWER(?), '%')) OR ((`users`.age >= CAST(? AS SIGNED)) AND (`users`.vip = ?))) AND (LOWER(`orders`.status) NOT LIKE CONCAT('%', LOWER(?), '%') OR `orders`.status IS NULL) AND (LOWER(`orders`.status) NOT LIKE CONCAT('%', LOWER(?), '%') AND LOWER(`orders`.status) NOT LIKE CONCAT('%', LOWER(?), '%')) AND (LOWER(`orders`.status) LIKE CONCAT(LOWER(?), '%') OR `orders`.status IS NULL) AND (LOWER(`orders`.status) NOT LIKE CONCAT(LOWER(?), '%') OR `orders`.status IS NULL) AND (LOWER(`orders`.status) LIKE CONCAT('%', LOWER(?))) AND (LOWER(`orders`.status) NOT LIKE CONCAT('%', LOWER(?)) OR `orders`.status IS NULL) AND (`orders`.status IN (?, ?)) AND (`orders`.status IN (?) OR `orders`.status IS NULL) AND (`orders`.status IS NULL) AND (`orders`.status IN (?)) AND (`orders`.status <> ? OR `orders`.status IS NULL) AND (`orders`.status NOT IN (?, ?) OR `orders`.status IS NULL) AND (`orders`.status NOT IN (?)) AND (`orders`.status IS NOT NULL) AND (`orders`.status IS NOT NULL) AND (`orders`.status IS NULL) AND (`users`.age < CAST(? AS DECIMAL(65, 30))) AND (`users`.age <= CAST(? AS SIGNED))
LIMIT 10000
-- [7,"a\\%\\_b\\\\c","x",21,true,"q","q","r","s","s","e","e","a","b","a","a","a","a","b","a","20.5",3000000000]
-- orders__count number orders.count
-- source default, order [], fresh for 10s
