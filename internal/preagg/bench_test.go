//go:build cgo

package preagg

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/duckdbinstance"
)

// generated are n rows that nobody keeps: a day, a status, and two measures.
type generated struct {
	left, n int64
	days    []any
	cells   []any
}

var orders = []Column{{"orders.day", Time}, {"orders.status", String}, {"orders.count", Number}, {"orders.revenue", Number}}

func generate(n int64) *generated {
	g := &generated{left: n, n: n}
	for d := range 365 {
		g.days = append(g.days, time.Date(2026, 1, 1+d, 0, 0, 0, 0, time.UTC))
	}
	for i := range 1000 {
		g.cells = append(g.cells, driverfactory.Decimal(fmt.Sprintf("%d.%02d", 10+i*7, i%100)))
	}
	return g
}

func (g *generated) Columns() []driverfactory.Column {
	return make([]driverfactory.Column, len(orders))
}
func (g *generated) Close() error { return nil }
func (g *generated) Next(dest []any) (bool, error) {
	if g.left == 0 {
		return false, nil
	}
	g.left--
	i := g.n - g.left
	dest[0], dest[1] = g.days[i%365], [...]string{"completed", "shipped", "returned", "processing"}[i%4]
	dest[2], dest[3] = i%977, g.cells[i%1000]
	return true, nil
}

func BenchmarkWrite(b *testing.B) {
	s := open(b, Config{})
	const n = 1_000_000
	for b.Loop() {
		t, err := s.Write(b.Context(), rollup("alice", "x"), Table{}, orders, generate(n))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(t.Bytes), "B/file")
	}
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkQuery compares a query with the same one in DuckDB directly, over the same file, and reports the ratio.
func BenchmarkQuery(b *testing.B) {
	const statement = `SELECT "orders.status", sum("orders.count") AS n, sum("orders.revenue") AS revenue FROM t
		WHERE "orders.day" >= CAST(? AS TIMESTAMP) AND "orders.day" < CAST(? AS TIMESTAMP) GROUP BY 1 ORDER BY 3 DESC LIMIT 100`
	for _, n := range []int64{3_650, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b, Config{})
			of := rollup("alice", "x")
			if _, err := s.Write(b.Context(), of, Table{}, orders, generate(n)); err != nil {
				b.Fatal(err)
			}
			args := []any{"2026-03-01", "2026-09-01"}
			connector, err := duckdbinstance.Open(duckdbinstance.Config{Folders: []string{s.cfg.Dir}, Threads: 1, Memory: 32 << 20})
			if err != nil {
				b.Fatal(err)
			}
			db := sql.OpenDB(connector)
			defer db.Close()
			direct := "WITH t AS (SELECT * FROM read_parquet(" + duckdbinstance.Literal(s.path(s.Tables(of)[0].file, rowsFile)) + ")) " + statement
			var ours, theirs time.Duration
			for b.Loop() { // one after the other, so that both meet the same machine
				start := time.Now()
				if rows, err := query(b, s, of, statement, args...); err != nil || len(rows) != 4 {
					b.Fatal(rows, err)
				}
				ours += time.Since(start)
				start = time.Now()
				rows, err := db.Query(direct, args...)
				if err != nil {
					b.Fatal(err)
				}
				for rows.Next() {
					var status, count, revenue any
					if err := rows.Scan(&status, &count, &revenue); err != nil {
						b.Fatal(err)
					}
				}
				if err := rows.Close(); err != nil {
					b.Fatal(err)
				}
				theirs += time.Since(start)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "µs/query")
			b.ReportMetric(float64(theirs.Microseconds())/float64(b.N), "µs/direct")
			b.ReportMetric(float64(ours)/float64(theirs), "ratio")
		})
	}
}
