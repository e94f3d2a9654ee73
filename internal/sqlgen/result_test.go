package sqlgen_test

import (
	"cmp"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/behalf-project/behalf/driverfactory/mysql/mariadbtest"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/internal/sqlstore/postgrestest"
)

func TestMain(m *testing.M) {
	os.Exit(mariadbtest.Run(func() int { return postgrestest.Run(m) }))
}

const schema = `
CREATE TABLE users (id int PRIMARY KEY, tenant_id int, country text, age int, vip boolean, credit numeric);
CREATE TABLE orders (id int PRIMARY KEY, user_id int, status text, amount numeric, created_at timestamp,
	kind text, region text);
CREATE TABLE line_items (order_id int, line int, sku text, qty int);
CREATE TABLE products (sku text PRIMARY KEY, price numeric, label text);`

// Order 5 has no user, user 3 no country, order 4 no line items, user 9 belongs to another tenant. Order 1 has three
// line items, two of one product. 2 and 3 lie on the two hours of the night on which New York's clocks go back.
const seed = `
INSERT INTO users VALUES (1, 7, 'DE', 20, true, 100), (2, 7, 'DE', 30, false, 50), (3, 7, NULL, 40, false, 7), (9, 8, 'FR', 50, true, 1000);
INSERT INTO orders VALUES
	(1, 1, 'done', 10, '2024-11-02 12:00:00', 'a', 'eu'), (2, 1, 'open', 20, '2024-11-03 05:30:00', 'b', 'us'),
	(3, 2, 'done', 40, '2024-11-03 06:30:00', 'a', NULL), (4, 3, 'done', 80, '2024-11-04 04:59:59.500', 'b', 'xx'),
	(5, NULL, NULL, 160, '2024-11-04 05:00:00', 'a', 'eu'), (6, 9, 'open', 320, '2024-12-31 23:30:00', 'b', 'us');
INSERT INTO line_items VALUES (1, 1, 'x', 1), (1, 2, 'x', 2), (1, 3, 'y', 4), (2, 1, 'x', 8), (3, 1, 'z', 16), (5, 1, 'y', 32), (5, 2, NULL, 64);
INSERT INTO products VALUES ('x', 1, 'toy'), ('y', 10, 'toy'), ('z', 100, NULL);`

// openShop returns a database with the tables of the shop, and what fills them.
func openShop(t *testing.T, fill string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", postgrestest.URL(t)+"&timezone=UTC")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(schema + fill); err != nil {
		t.Fatal(err)
	}
	return db
}

// rows runs a statement and returns its rows as texts; NULL is "-".
func rows(t *testing.T, db *sql.DB, statement string, args []any) []string {
	t.Helper()
	found, err := db.Query(statement, args...)
	if err != nil {
		t.Fatalf("%v\n%s\n%v", err, statement, args)
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for found.Next() {
		cells := make([]any, len(columns))
		for i := range cells {
			cells[i] = new(any)
		}
		if err := found.Scan(cells...); err != nil {
			t.Fatal(err)
		}
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = cell(*c.(*any))
		}
		out = append(out, strings.Join(texts, " "))
	}
	if err := found.Err(); err != nil {
		t.Fatalf("%v\n%s\n%v", err, statement, args)
	}
	return out
}

func cell(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case time.Time:
		return v.Format("2006-01-02T15:04:05.000")
	case []byte: // a decimal of MariaDB
		return cell(string(v))
	case string:
		if strings.Contains(v, ".") {
			return strings.TrimRight(strings.TrimRight(v, "0"), ".")
		}
		return v
	}
	return fmt.Sprint(v)
}

// The expected rows are worked out by hand from seed. Where the query has no order they are sorted.
var rightRows = []struct {
	name, context, query string
	want                 []string
}{
	{"a group of NULL is a group, and rows of other tenants lose what joins them", tenant7,
		`{"measures":["orders.count","orders.total"],"dimensions":["users.country"],"order":[["users.country","asc"]]}`,
		[]string{"DE 3 70", "- 3 560"}},
	{"a sum is not repeated by the line items of its order", tenant7,
		`{"measures":["orders.total"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]}`,
		[]string{"x 30", "y 170", "z 40", "- 560"}},
	{"sums of both sides of a join, with a group of NULL", tenant7,
		`{"measures":["orders.total","line_items.qty","orders.count"],"dimensions":["users.country"],"order":[["users.country","asc"]]}`,
		[]string{"DE 70 31 3", "- 560 96 3"}},
	{"sums of three cubes without a dimension", tenant7,
		`{"measures":["users.credit","orders.total","line_items.revenue"]}`,
		[]string{"157 630 1971"}},
	{"an average of orders, not of line items", tenant7,
		`{"measures":["orders.average","orders.lowest","orders.highest"],"dimensions":["products.label"],"order":[["products.label","asc"]]}`,
		[]string{"toy 63.3333333333333333 10 160", "- 150 40 320"}},
	{"a share of counts that joins repeat", tenant7,
		`{"measures":["orders.done_share","orders.spread"],"dimensions":["line_items.sku"],"order":[["line_items.sku","asc"]]}`,
		[]string{"x 0.5 10", "y 0.5 150", "z 1 0", "- 0.33333333333333333333 240"}},
	{"a filter on a sum that joins repeat", tenant7,
		`{"measures":["line_items.qty"],"dimensions":["users.country"],"filters":[{"member":"orders.total","operator":"gt","values":["70"]}]}`,
		[]string{"- 96"}},
	{"a filter on a measure that is not selected", tenant7,
		`{"dimensions":["orders.status"],"filters":[{"member":"orders.total","operator":"lt","values":["200.5"]}],"order":[["orders.status","asc"]]}`,
		[]string{"done", "-"}},
	{"a key of two columns is counted as one", tenant7,
		`{"measures":["line_items.count"],"dimensions":["orders.status"],"order":[["orders.status","asc"]]}`,
		[]string{"done 4", "open 1", "- 2"}},
	{"a day of 25 hours holds both of its second hours", tenant7,
		`{"measures":["orders.count"],"timezone":"America/New_York","timeDimensions":[
				{"dimension":"orders.created_at","granularity":"hour","dateRange":["2024-11-03","2024-11-03"]}]}`,
		[]string{"2024-11-03T01:00:00.000 2", "2024-11-03T23:00:00.000 1"}},
	{"the day that New York lives", tenant7,
		`{"measures":["orders.total"],"timezone":"America/New_York","timeDimensions":[
				{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-11-02","2024-11-04"]}]}`,
		[]string{"2024-11-02T00:00:00.000 10", "2024-11-03T00:00:00.000 140", "2024-11-04T00:00:00.000 160"}},
	{"weeks begin on Monday", tenant7,
		`{"measures":["orders.count"],"timeDimensions":[{"dimension":"orders.created_at","granularity":"week"}]}`,
		[]string{"2024-10-28T00:00:00.000 3", "2024-11-04T00:00:00.000 2", "2024-12-30T00:00:00.000 1"}},
	{"the year in which it was there", tenant7,
		`{"measures":["orders.count"],"timezone":"Asia/Tokyo","timeDimensions":[{"dimension":"orders.created_at","granularity":"year"}]}`,
		[]string{"2024-01-01T00:00:00.000 5", "2025-01-01T00:00:00.000 1"}},
	{"times as a dimension are local, and so is what is made of them", tenant7,
		`{"dimensions":["orders.created_at","orders.hour"],"timezone":"America/New_York","filters":[{"member":"orders.id","operator":"equals","values":["2"]}]}`,
		[]string{"2024-11-03T01:30:00.000 1"}},
	{"a case", tenant7,
		`{"measures":["orders.count"],"dimensions":["orders.size"],"order":[["orders.size","asc"]]}`,
		[]string{"big 2", `it's \ middling 4`}},
	{"a view", tenant7,
		`{"measures":["sales.total"],"dimensions":["sales.users_country"],"segments":["sales.done_only"],"order":[["sales.users_country","asc"]]}`,
		[]string{"DE 50", "- 80"}},
	{"no dimension and no row", tenant7,
		`{"measures":["orders.count","orders.total"],"filters":[{"member":"orders.status","operator":"equals","values":["none"]}]}`,
		[]string{"0 -"}},
	{"limit and offset", tenant7,
		`{"dimensions":["orders.id"],"order":[["orders.id","desc"]],"limit":2,"offset":1}`,
		[]string{"5", "4"}},
	{"limit zero", tenant7, `{"dimensions":["orders.status"],"limit":0}`, []string{}},
	{"ungrouped rows", tenant7,
		`{"measures":["orders.total","orders.done"],"dimensions":["orders.status"],"ungrouped":true,"order":[["orders.total","asc"]],"limit":2}`,
		[]string{"done 10 1", "open 20 -"}},
	{"a missing claim shows no row", `{}`,
		`{"measures":["users.count"]}`, []string{"0"}},
	{"an empty list shows no row", `{"tenant_id": []}`, `{"measures":["users.count"]}`, []string{"0"}},
	{"several values of a claim", `{"tenant_id": [7, 8]}`, `{"measures":["users.count"]}`, []string{"4"}},
	{"a pattern in a value is text", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"contains","values":["%"]}]}`, []string{"0"}},
	{"letters match whatever their case", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"startsWith","values":["DO"]}]}`, []string{"3"}},
	{"not equal keeps NULL", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notEquals","values":["done"]}]}`, []string{"3"}},
	{"contains null alone is NULL", tenant7,
		`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"contains","values":[null]}]}`, []string{"5"}},
	{"notContains null alone is not NULL", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notContains","values":[null]}]}`, []string{"5"}},
	{"startsWith null alone is NULL", tenant7,
		`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"startsWith","values":[null]}]}`, []string{"5"}},
	{"notStartsWith null alone is not NULL", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notStartsWith","values":[null]}]}`, []string{"5"}},
	{"endsWith null alone is NULL", tenant7,
		`{"dimensions":["orders.id"],"filters":[{"member":"orders.status","operator":"endsWith","values":[null]}]}`, []string{"5"}},
	{"notEndsWith null alone is not NULL", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.status","operator":"notEndsWith","values":[null]}]}`, []string{"5"}},
	{"a filter on a cube that is not selected joins it", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"users.country","operator":"equals","values":["DE"]}]}`, []string{"3"}},
	{"filters pushed into a cube's sql", tenant7,
		`{"measures":["recent.count"],"timeDimensions":[{"dimension":"recent.created_at","dateRange":["2024-11-01","2024-11-30"]}],
				"filters":[{"or":[{"member":"recent.status","operator":"equals","values":["open"]},{"member":"recent.kind","operator":"equals","values":["a"]}]}]}`,
		[]string{"4"}},
	{"numbers larger than the column, and fractions", tenant7,
		`{"measures":["orders.count"],"filters":[{"member":"orders.id","operator":"lt","values":["30000000000"]},{"member":"orders.id","operator":"gt","values":["1.5"]}]}`,
		[]string{"5"}},
	{"booleans", tenant7,
		`{"measures":["users.count"],"filters":[{"member":"users.vip","operator":"equals","values":[true]}]}`, []string{"1"}},
}

func TestRowsAreTheRightOnes(t *testing.T) {
	testRows(t, openShop(t, seed), sqlgen.Postgres{}, slices.Clone)
}

// testRows runs every one of rightRows in a database. alike makes alike what the database may show in another way.
func testRows(t *testing.T, db *sql.DB, d sqlgen.Dialect, alike func([]string) []string) {
	m := loadShop(t)
	for _, tt := range rightRows {
		t.Run(tt.name, func(t *testing.T) {
			q := decode(t, tt.query)
			o := options(d)
			o.ShowHidden = true
			plan, err := sqlgen.Generate(m, context(t, tt.context), q, o)
			if err != nil {
				t.Fatal(err)
			}
			got := rows(t, db, plan.SQL, plan.Args)
			if !slices.Equal(alike(got), alike(tt.want)) {
				t.Errorf("rows = %q, want %q\n%s\n%v", got, tt.want, plan.SQL, plan.Args)
			}
		})
	}
}

func TestTotalCountsWhatLimitHides(t *testing.T) {
	db, m := openShop(t, seed), loadShop(t)
	plan, err := sqlgen.Generate(m, context(t, tenant7), decode(t, `{"dimensions":["orders.status"],"limit":1,"total":true}`), options(sqlgen.Postgres{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := rows(t, db, plan.Total.SQL, plan.Total.Args); !slices.Equal(got, []string{"3"}) {
		t.Errorf("total = %q, want 3", got)
	}
	if got := rows(t, db, plan.SQL, plan.Args); len(got) != 1 {
		t.Errorf("rows = %q, want one", got)
	}
}

func TestSumsAreRightWhateverTheJoinsRepeat(t *testing.T) {
	db := openShop(t, "")
	testSums(t, db, db, sqlgen.Postgres{})
}

// testSums compares with sums over distinct keys, made in memory from random data, which filled writes.
func testSums(t *testing.T, db, filled *sql.DB, d sqlgen.Dialect) {
	m := loadShop(t)
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 25 {
		data := randomShop(r)
		if _, err := filled.Exec("DELETE FROM users; DELETE FROM orders; DELETE FROM line_items;" + data.insert()); err != nil {
			t.Fatal(err)
		}
		dims := [][]string{{}, {"users.country"}, {"line_items.sku"}, {"users.country", "line_items.sku"}, {"orders.status", "users.country"}}[round%5]
		q := fmt.Sprintf(`{"measures":["orders.total","orders.count","line_items.qty","line_items.count","users.credit"],"dimensions":["%s"]}`, strings.Join(dims, `","`))
		q = strings.Replace(q, `[""]`, `[]`, 1)
		plan, err := sqlgen.Generate(m, context(t, tenant7), decode(t, q), options(d))
		if err != nil {
			t.Fatal(err)
		}
		got, want := rows(t, db, plan.SQL, plan.Args), data.sums(dims)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d, %q\n got %q\nwant %q\n%s", round, dims, got, want, data.insert())
		}
	}
}

// randomData is a shop in memory. Empty texts stand for NULL.
type randomData struct {
	users  []struct{ country string }
	orders []struct {
		user   int // 0: none
		status string
	}
	items []struct {
		order int
		sku   string
	}
}

func randomShop(r *rand.Rand) randomData {
	var d randomData
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	for range r.IntN(4) {
		d.users = append(d.users, struct{ country string }{pick("", "DE", "US")})
	}
	for range r.IntN(7) {
		d.orders = append(d.orders, struct {
			user   int
			status string
		}{r.IntN(len(d.users) + 1), pick("", "done", "open")})
	}
	for range r.IntN(12) {
		if len(d.orders) > 0 {
			d.items = append(d.items, struct {
				order int
				sku   string
			}{1 + r.IntN(len(d.orders)), pick("", "x", "y")})
		}
	}
	return d
}

func quoted(s string) string {
	if s == "" {
		return "NULL"
	}
	return "'" + s + "'"
}

// insert returns SQL for d. Amounts are powers of two, so that no two sums of different rows are equal.
func (d randomData) insert() string {
	var b strings.Builder
	for i, u := range d.users {
		fmt.Fprintf(&b, "INSERT INTO users VALUES (%d, 7, %s, 1, true, %d);", i+1, quoted(u.country), 1<<i)
	}
	for i, o := range d.orders {
		user := "NULL"
		if o.user > 0 {
			user = fmt.Sprint(o.user)
		}
		fmt.Fprintf(&b, "INSERT INTO orders VALUES (%d, %s, %s, %d, '2024-01-01', NULL, NULL);", i+1, user, quoted(o.status), 1<<i)
	}
	for i, item := range d.items {
		fmt.Fprintf(&b, "INSERT INTO line_items VALUES (%d, %d, %s, %d);", item.order, i, quoted(item.sku), 1<<i)
	}
	return b.String()
}

// sums walks over all joined rows and adds each order, item and user once for each group.
func (d randomData) sums(dims []string) []string {
	type group struct{ orders, items, users map[int]bool }
	groups := map[string]*group{}
	if len(dims) == 0 {
		groups[""] = &group{map[int]bool{}, map[int]bool{}, map[int]bool{}}
	}
	add := func(order, item int) {
		o := d.orders[order-1]
		values := map[string]string{"orders.status": o.status}
		if o.user > 0 {
			values["users.country"] = d.users[o.user-1].country
		}
		if item > 0 {
			values["line_items.sku"] = d.items[item-1].sku
		}
		var key []string
		for _, dim := range dims {
			key = append(key, cmp.Or(values[dim], "-"))
		}
		g := groups[strings.Join(key, " ")]
		if g == nil {
			g = &group{map[int]bool{}, map[int]bool{}, map[int]bool{}}
			groups[strings.Join(key, " ")] = g
		}
		g.orders[order] = true
		if item > 0 {
			g.items[item] = true
		}
		if o.user > 0 {
			g.users[o.user] = true
		}
	}
	for order := range d.orders {
		found := false
		for item, it := range d.items {
			if it.order == order+1 {
				add(order+1, item+1)
				found = true
			}
		}
		if !found {
			add(order+1, 0)
		}
	}
	sum := func(ids map[int]bool) string {
		if len(ids) == 0 {
			return "-"
		}
		n := 0
		for id := range ids {
			n += 1 << (id - 1)
		}
		return fmt.Sprint(n)
	}
	var out []string
	for key, g := range groups {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d %s %d %s", key, sum(g.orders), len(g.orders), sum(g.items), len(g.items), sum(g.users))))
	}
	return out
}
