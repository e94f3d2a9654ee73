-- The rows of the shop: createdb shop && psql shop -f data.sql
CREATE TABLE customers (id INT PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL);
INSERT INTO customers VALUES (1, 'Anna', 'de'), (2, 'Bruno', 'fr'), (3, 'Clara', 'us'), (4, 'Dario', 'de');

CREATE TABLE orders (
  id INT PRIMARY KEY, tenant TEXT NOT NULL, customer_id INT NOT NULL REFERENCES customers,
  status TEXT NOT NULL, amount NUMERIC(12, 2) NOT NULL, created_at TIMESTAMPTZ NOT NULL
);
INSERT INTO orders VALUES
  (1, 'acme', 1, 'done', 10.50, '2026-03-01 08:00:00Z'), (2, 'acme', 1, 'done', 20.00, '2026-03-02 09:00:00Z'),
  (3, 'acme', 2, 'open', 100.00, '2026-03-02 21:00:00Z'), (4, 'acme', 4, 'done', 31.00, '2026-03-04 00:00:00Z'),
  (5, 'acme', 3, 'open', 7.00, '2026-03-04 12:00:00Z'), (6, 'globex', 2, 'done', 99.00, '2026-03-04 12:00:00Z');
