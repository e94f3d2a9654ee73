SELECT q_0.`orders__kind` `orders__kind`, q_0.`orders__created_at_day` `orders__created_at_day`, q_0.`orders__days2` `orders__days2`, q_0.`orders__ever` `orders__ever`, q_1.`orders__total` `orders__total`
FROM (SELECT `base`.`orders__kind` `orders__kind`, `series`.`orders__created_at_day` `orders__created_at_day`, sum(CASE WHEN `base`.`at` >= `series`.`from_0` AND `base`.`at` < `series`.`to_0` THEN `base`.`value_0` END) `orders__days2`, sum(CASE WHEN `base`.`at` < `series`.`to_1` THEN `base`.`value_1` END) `orders__ever`
FROM (SELECT CAST(`orders__created_at_day` AS DATETIME(3)) AS `orders__created_at_day`, CAST(`from_0` AS DATETIME(3)) AS `from_0`, CAST(`to_0` AS DATETIME(3)) AS `to_0`, CAST(`to_1` AS DATETIME(3)) AS `to_1`, CAST(`from_2` AS DATETIME(3)) AS `from_2`, CAST(`to_2` AS DATETIME(3)) AS `to_2` FROM JSON_TABLE('[["2024-11-03T00:00:00.000","2024-11-02T00:00:00.000","2024-11-04T00:00:00.000","2024-11-04T00:00:00.000","2024-11-03T00:00:00.000","2024-11-04T00:00:00.000"],["2024-11-04T00:00:00.000","2024-11-03T00:00:00.000","2024-11-05T00:00:00.000","2024-11-05T00:00:00.000","2024-11-04T00:00:00.000","2024-11-05T00:00:00.000"],["2024-11-05T00:00:00.000","2024-11-04T00:00:00.000","2024-11-06T00:00:00.000","2024-11-06T00:00:00.000","2024-11-05T00:00:00.000","2024-11-06T00:00:00.000"]]', '$[*]' COLUMNS (`orders__created_at_day` VARCHAR(255) PATH '$[0]', `from_0` VARCHAR(255) PATH '$[1]', `to_0` VARCHAR(255) PATH '$[2]', `to_1` VARCHAR(255) PATH '$[3]', `from_2` VARCHAR(255) PATH '$[4]', `to_2` VARCHAR(255) PATH '$[5]')) AS `dates`) AS `series`
LEFT JOIN (SELECT `orders__kind`, CAST(DATE_FORMAT(`at`, '%Y-%m-%d 00:00:00') AS DATETIME) `at`, sum(`value_0`) `value_0`, sum(`value_1`) `value_1`
FROM (SELECT `orders`.kind `orders__kind`, CONVERT_TZ(`orders`.created_at, '+00:00', '+00:00') `at`, `orders`.amount `value_0`, `orders`.amount `value_1`
FROM orders AS `orders`
WHERE (`orders`.created_at <= CAST(? AS DATETIME(3)))) AS `rows`
GROUP BY 1, 2) AS `base` ON (`base`.`at` >= `series`.`from_0` AND `base`.`at` < `series`.`to_0`) OR (`base`.`at` < `series`.`to_1`) OR (`base`.`at` >= `series`.`from_2` AND `base`.`at` < `series`.`to_2`)
GROUP BY 1, 2) AS q_0
LEFT JOIN (SELECT `orders`.kind `orders__kind`, CAST(DATE_FORMAT(CONVERT_TZ(`orders`.created_at, '+00:00', '+00:00'), '%Y-%m-%d 00:00:00') AS DATETIME) `orders__created_at_day`, sum(`orders`.amount) `orders__total`
FROM orders AS `orders`
WHERE (`orders`.created_at >= CAST(? AS DATETIME(3)) AND `orders`.created_at <= CAST(? AS DATETIME(3)))
GROUP BY 1, 2) AS q_1 ON (q_0.`orders__kind` = q_1.`orders__kind` OR (q_0.`orders__kind` IS NULL AND q_1.`orders__kind` IS NULL)) AND (q_0.`orders__created_at_day` = q_1.`orders__created_at_day` OR (q_0.`orders__created_at_day` IS NULL AND q_1.`orders__created_at_day` IS NULL))
ORDER BY 2 ASC, 1 ASC
LIMIT 10000
-- ["2024-11-05T23:59:59.999","2024-11-03T00:00:00.000","2024-11-05T23:59:59.999"]
-- orders__kind string orders.kind
-- orders__created_at_day time orders.created_at.day orders.created_at
-- orders__days2 number orders.days2
-- orders__ever number orders.ever
-- orders__total number orders.total
-- source default, order [{orders.created_at false} {orders.kind false}], fresh for 10s
