SELECT count(`recent`.id) `recent__count`
FROM (SELECT * FROM (SELECT * FROM public.orders) AS o WHERE (1 = 1)
  AND (1 = 1)
  AND (o.region IN (?, ?) OR o.region IS NULL)
) AS `recent`
WHERE (((`recent`.status = ? AND (CONCAT(`recent`.status, '') IN (?)))) OR ((`recent`.id = CAST(? AS SIGNED) AND (`recent`.id IN (?)))))
LIMIT 10000
-- ["eu","us","a","a",3,"3"]
-- recent__count number recent.count
-- source default, order [], fresh for 10s, since 2026-11-21T22:15:00Z
