SELECT count("recent".id) "recent__count"
FROM (SELECT * FROM (SELECT * FROM public.orders) AS o WHERE ((o.created_at >= ?::timestamp_tz AND o.created_at <= ?::timestamp_tz))
  AND (((o.status = ?) OR (o.kind = ?)))
  AND (o.region IN (?, ?) OR o.region IS NULL)
) AS "recent"
WHERE ("recent".created_at >= ?::timestamp_tz AND "recent".created_at <= ?::timestamp_tz) AND (("recent".status = ?) OR ("recent".kind = ?)) AND ("recent".id > ?)
LIMIT 10000
-- ["2026-01-01T00:00:00.000Z","2026-01-02T23:59:59.999Z","a","b","eu","us","2026-01-01T00:00:00.000Z","2026-01-02T23:59:59.999Z","a","b",5]
-- recent__count number recent.count
-- source default, order [], fresh for 2m0s, since 2026-11-21T22:15:00Z
