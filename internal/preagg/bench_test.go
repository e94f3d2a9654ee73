//go:build cgo

package preagg

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"

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

// BenchmarkWrite compares a build with its floor: the same rows appended to a table of DuckDB and copied to a Parquet file, with
// nothing said of them, nothing checked and nothing flushed.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int64{1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := open(b, Config{})
			var ours, theirs time.Duration
			for b.Loop() { // one after the other, so that both meet the same machine
				start := time.Now()
				t, err := s.Write(b.Context(), rollup("alice", "x"), Table{}, orders, generate(n))
				if err != nil {
					b.Fatal(err)
				}
				ours += time.Since(start)
				start = time.Now()
				if err := appended(b.Context(), filepath.Join(b.TempDir(), "x.parquet"), generate(n)); err != nil {
					b.Fatal(err)
				}
				theirs += time.Since(start)
				b.ReportMetric(float64(t.Bytes), "B/file")
			}
			b.ReportMetric(float64(n)*float64(b.N)/ours.Seconds(), "rows/s")
			b.ReportMetric(float64(n)*float64(b.N)/theirs.Seconds(), "floor-rows/s")
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
		})
	}
}

// appended writes rows to a Parquet file by DuckDB alone.
func appended(ctx context.Context, file string, rows *generated) error {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return err
	}
	defer connector.Close()
	db := sql.OpenDB(connector)
	defer db.Close()
	if _, err := db.ExecContext(ctx, "SET threads = 1; CREATE TABLE x (day TIMESTAMP, status VARCHAR, count BIGINT, revenue DECIMAL(18, 2))"); err != nil {
		return err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	appender, err := duckdb.NewAppenderFromConn(conn, "", "x")
	if err != nil {
		return err
	}
	row := make([]driver.Value, 4)
	for dest := make([]any, 4); ; {
		more, err := rows.Next(dest)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		for i, v := range dest {
			row[i] = v
		}
		text := string(row[3].(driverfactory.Decimal)) // with two digits after the point
		cents, err := strconv.ParseInt(strings.Replace(text, ".", "", 1), 10, 64)
		if err != nil {
			return err
		}
		row[3] = duckdb.Decimal{Width: 18, Scale: 2, Value: big.NewInt(cents)}
		if err := appender.AppendRow(row...); err != nil {
			return err
		}
	}
	if err := appender.Close(); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "COPY x TO "+duckdbinstance.Literal(file)+" (FORMAT parquet, COMPRESSION zstd)")
	return err
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
