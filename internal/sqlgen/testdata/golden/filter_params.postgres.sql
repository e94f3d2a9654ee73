SELECT count("recent".id) "recent__count"
FROM (SELECT * FROM (SELECT * FROM public.orders) AS o WHERE ((o.created_at >= $1::timestamptz AND o.created_at <= $2::timestamptz))
  AND (((o.status = $3) OR (o.kind = $4)))
  AND (o.region IN ($5, $6) OR o.region IS NULL)
) AS "recent"
WHERE ("recent".created_at >= $7::timestamptz AND "recent".created_at <= $8::timestamptz) AND (("recent".status = $9) OR ("recent".kind = $10)) AND ("recent".id > $11)
LIMIT 10000
-- ["2026-01-01T00:00:00.000Z","2026-01-02T23:59:59.999Z","a","b","eu","us","2026-01-01T00:00:00.000Z","2026-01-02T23:59:59.999Z","a","b",5]
-- recent__count number recent.count
-- source default, order [], fresh for 10s, since 2026-11-21T22:15:00Z
