SELECT count(`recent`.id) `recent__count`
FROM (SELECT * FROM (SELECT * FROM public.orders) AS o WHERE ((o.created_at >= CAST(? AS DATETIME(3)) AND o.created_at <= CAST(? AS DATETIME(3))))
  AND ((((o.status = ? AND (CONCAT(o.status, '') IN (?)))) OR (o.kind = ?)))
  AND (o.region IN (?, ?) OR o.region IS NULL)
) AS `recent`
WHERE (`recent`.created_at >= CAST(? AS DATETIME(3)) AND `recent`.created_at <= CAST(? AS DATETIME(3))) AND (((`recent`.status = ? AND (CONCAT(`recent`.status, '') IN (?)))) OR ((`recent`.kind = ? AND (CONCAT(`recent`.kind, '') IN (?))))) AND (`recent`.id > CAST(? AS SIGNED))
LIMIT 10000
-- ["2026-01-01T00:00:00.000","2026-01-02T23:59:59.999","a","a","b","eu","us","2026-01-01T00:00:00.000","2026-01-02T23:59:59.999","a","a","b","b",5]
-- recent__count number recent.count
-- source default, order [], fresh for 10s, since 2026-11-21T22:15:00Z
