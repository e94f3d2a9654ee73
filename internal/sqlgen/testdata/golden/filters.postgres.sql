SELECT count("orders".id) "orders__count"
FROM public.orders AS "orders"
LEFT JOIN (SELECT * FROM public.users WHERE tenant_id = $1) AS "users" ON "orders".user_id = "users".id
WHERE (("orders".status ILIKE '%' || $2 || '%' OR "orders".status ILIKE '%' || $3 || '%') OR (("users".age >= $4) AND ("users".vip = $5))) AND ("orders".status NOT ILIKE '%' || $6 || '%' OR "orders".status IS NULL) AND ("orders".status NOT ILIKE '%' || $7 || '%' AND "orders".status NOT ILIKE '%' || $8 || '%') AND ("orders".status ILIKE $9 || '%' OR "orders".status IS NULL) AND ("orders".status NOT ILIKE $10 || '%' OR "orders".status IS NULL) AND ("orders".status ILIKE '%' || $11) AND ("orders".status NOT ILIKE '%' || $12 OR "orders".status IS NULL) AND ("orders".status IN ($13, $14)) AND ("orders".status IN ($15) OR "orders".status IS NULL) AND ("orders".status IS NULL) AND ("orders".status IN ($16)) AND ("orders".status <> $17 OR "orders".status IS NULL) AND ("orders".status NOT IN ($18, $19) OR "orders".status IS NULL) AND ("orders".status NOT IN ($20)) AND ("orders".status IS NOT NULL) AND ("orders".status IS NOT NULL) AND ("orders".status IS NULL) AND ("users".age < $21::numeric) AND ("users".age <= $22::bigint)
LIMIT 10000
-- [7,"a\\%\\_b\\\\c","x",21,true,"q","q","r","s","s","e","e","a","b","a","a","a","a","b","a","20.5",3000000000]
-- orders__count number orders.count
-- source default, order [], fresh for 10s, since 2026-11-21T22:15:00Z
