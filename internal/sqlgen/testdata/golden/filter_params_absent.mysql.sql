SELECT count(`recent`.id) `recent__count`
FROM (SELECT * FROM (SELECT * FROM public.orders) AS o WHERE (1 = 1)
  AND (1 = 1)
  AND (o.region IN (?, ?) OR o.region IS NULL)
) AS `recent`
WHERE ((`recent`.status = ?) OR (`recent`.id = CAST(? AS SIGNED)))
LIMIT 10000
-- ["eu","us","a",3]
-- recent__count number recent.count
-- source default, order [], fresh for 10s
