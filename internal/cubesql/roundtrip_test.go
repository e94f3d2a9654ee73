package cubesql

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
)

// author makes queries at random, and writes each as SQL.
type author struct{ *rand.Rand }

func (a author) chance(n int) bool { return a.IntN(n) == 0 }

func pick[T any](a author, all ...T) T { return all[a.IntN(len(all))] }

// some returns some of all, in another order.
func some[T any](a author, most int, all ...T) []T {
	all = slices.Clone(all)
	a.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:a.IntN(min(most, len(all))+1)]
}

// moment returns a time as queries have it.
func (a author) moment() string {
	return fmt.Sprintf("2024-%02d-%02dT%02d:%02d:%02d.%03d%s", 1+a.IntN(12), 1+a.IntN(28), a.IntN(24), a.IntN(60), a.IntN(60), a.IntN(1000), pick(a, "", "", "Z"))
}

func values(texts ...string) (all []query.Value) {
	for _, t := range texts {
		all = append(all, query.Value{Text: t})
	}
	return all
}

// condition returns a filter on a member of the shop, which stands in a group or not.
func (a author) condition(grouped bool) query.Filter {
	switch a.IntN(5) {
	case 0:
		f := query.Filter{Member: "orders.status", Operator: pick(a, query.Contains, query.NotContains, query.StartsWith, query.NotStartsWith, query.EndsWith, query.NotEndsWith)}
		f.Values = values(pick(a, "x", `a%_\`, "ÄÖ", "it's"))
		return a.perhapsNull(f)
	case 1:
		member := pick(a, "orders.status", "orders.amount")
		text := func() string { return pick(a, "1", "-2.5", "300") }
		if a.chance(3) {
			return query.Filter{Member: member, Operator: pick(a, query.GT, query.GTE, query.LT, query.LTE), Values: values(text())}
		}
		return a.perhapsNull(query.Filter{Member: member, Operator: pick(a, query.Equals, query.NotEquals), Values: values(append(some(a, 3, text(), text()), text())...)})
	case 2:
		return a.perhapsNull(query.Filter{Member: "orders.paid", Operator: pick(a, query.Equals, query.NotEquals), Values: values(pick(a, "true", "false"))})
	case 3:
		if !grouped {
			return query.Filter{Member: "orders.sent_at", Operator: pick(a, query.BeforeDate, query.AfterDate), Values: values(a.moment())}
		}
		if a.chance(2) {
			return query.Filter{Member: "orders.sent_at", Operator: pick(a, query.InDateRange, query.NotInDateRange), Values: values(a.moment(), a.moment())}
		}
		return query.Filter{Member: "orders.sent_at", Operator: pick(a, query.BeforeOrOnDate, query.AfterOrOnDate), Values: values(a.moment())}
	}
	return query.Filter{Member: pick(a, "orders.amount", "orders.created_at"), Operator: query.Set}
}

func (a author) perhapsNull(f query.Filter) query.Filter {
	if a.chance(2) {
		f.Values = append(f.Values, query.Value{Null: true})
	}
	return f
}

// group returns a group, in which others alternate.
func (a author) group(or bool, depth int) query.Filter {
	var all []query.Filter
	for range 2 + a.IntN(3) {
		if depth > 0 && a.chance(3) {
			all = append(all, a.group(!or, depth-1))
		} else {
			all = append(all, a.condition(true))
		}
	}
	if or {
		return query.Filter{Or: all}
	}
	return query.Filter{And: all}
}

func (a author) query() query.Query {
	q := query.Query{Order: []query.Order{}}
	q.Dimensions = some(a, 3, "orders.id", "orders.status", "orders.paid", "orders.created_at")
	for _, d := range some(a, 2, "orders.created_at", "orders.sent_at") {
		for i, g := range some(a, 2, "day", "week", "year") {
			td := query.TimeDimension{Dimension: d, Granularity: g}
			if i == 0 && a.chance(2) {
				td.DateRange = &query.DateRange{Texts: []string{a.moment(), a.moment()}}
			}
			q.TimeDimensions = append(q.TimeDimensions, td)
		}
	}
	if q.Measures = some(a, 3, measures...); len(q.Measures) == 0 {
		q.Measures = nil // as they are decoded
	}
	if len(q.Dimensions)+len(q.TimeDimensions)+len(q.Measures) == 0 {
		q.Measures = []string{"orders.count"}
	}
	if a.chance(4) {
		q.Dimensions = append(q.Dimensions, "users.country")
		q.JoinHints = [][]string{{"orders", "users"}}
	}
	q.Ungrouped = a.chance(4)
	if a.chance(3) {
		q.Segments = []string{"orders.is_done"}
	}
	if !slices.ContainsFunc(q.TimeDimensions, func(td query.TimeDimension) bool { return td.Dimension == "orders.created_at" }) && a.chance(3) {
		q.TimeDimensions = append(q.TimeDimensions, query.TimeDimension{Dimension: "orders.created_at", DateRange: &query.DateRange{Texts: []string{a.moment(), a.moment()}}})
	}
	for range a.IntN(4) {
		if a.chance(3) {
			q.Filters = append(q.Filters, a.group(true, 3))
		} else {
			q.Filters = append(q.Filters, a.condition(false))
		}
	}
	if !q.Ungrouped && a.chance(3) {
		q.Filters = append(q.Filters, query.Filter{Or: []query.Filter{
			{Member: "orders.total", Operator: query.GT, Values: values("1")}, {Member: "orders.count", Operator: query.NotEquals, Values: values("3")},
		}})
	}
	ids := slices.Concat(q.Dimensions, q.Measures)
	for _, td := range q.TimeDimensions {
		if td.Granularity != "" {
			ids = append(ids, td.Dimension+"."+td.Granularity)
		}
	}
	for _, id := range some(a, 3, ids...) {
		q.Order = append(q.Order, query.Order{ID: id, Desc: a.chance(2)})
	}
	if a.chance(2) {
		n := a.IntN(1000)
		q.Limit = &n
	}
	if a.chance(3) {
		q.Offset = a.IntN(1000)
	}
	return q
}

// writer writes queries in SQL.
type writer struct {
	author
	q query.Query
}

var measures = []string{"orders.count", "orders.total", "orders.done_share", "orders.last_at"}

// column writes what an order may name.
func (w writer) column(id string) string {
	parts := strings.Split(id, ".")
	name := w.name(parts[0]) + "." + w.name(parts[1])
	switch {
	case len(parts) == 3:
		return "DATE_TRUNC('" + parts[2] + "', " + name + ")"
	case slices.Contains(measures, id) && !w.q.Ungrouped:
		return "MEASURE(" + name + ")"
	}
	return name
}

func (w writer) name(s string) string { return pick(w.author, s, `"`+s+`"`) }

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

var escapes = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

var signs = map[query.Operator]string{
	query.GT: ">", query.GTE: ">=", query.LT: "<", query.LTE: "<=", query.BeforeDate: "<", query.BeforeOrOnDate: "<=", query.AfterDate: ">", query.AfterOrOnDate: ">=",
}

// filter writes a condition in parentheses.
func (w writer) filter(f query.Filter) string {
	if f.Group() {
		var all []string
		for _, g := range append(f.And, f.Or...) {
			all = append(all, w.filter(g))
		}
		if f.Or != nil {
			return "(" + strings.Join(all, " OR ") + ")"
		}
		return "(" + strings.Join(all, " AND ") + ")"
	}
	column := w.column(f.Member)
	var texts []string
	null := false
	for _, v := range f.Values {
		if null = null || v.Null; v.Null {
			continue
		}
		switch f.Member {
		case "orders.amount", "orders.paid", "orders.count", "orders.total":
			texts = append(texts, v.Text)
		default:
			texts = append(texts, quote(v.Text))
		}
	}
	list := strings.Join(texts, ", ")
	like := func(before, after string) string { return quote(before + escapes.Replace(f.Values[0].Text) + after) }
	condition, not := "", false
	switch f.Operator {
	case query.Set:
		return column + " IS NOT NULL"
	case query.Equals:
		condition = column + " IN (" + list + ")"
		if len(texts) == 1 {
			condition = column + " = " + list
		}
	case query.NotEquals:
		condition, not = column+" NOT IN ("+list+")", true
		if len(texts) == 1 {
			condition = pick(w.author, column+" <> "+list, "NOT "+column+" = "+list)
		}
	case query.Contains:
		condition = column + " ILIKE " + like("%", "%")
	case query.StartsWith:
		condition = column + " ILIKE " + like("", "%")
	case query.EndsWith:
		condition = column + " ILIKE " + like("%", "")
	case query.NotContains:
		condition, not = column+" NOT ILIKE "+like("%", "%"), true
	case query.NotStartsWith:
		condition, not = column+" NOT ILIKE "+like("", "%"), true
	case query.NotEndsWith:
		condition, not = column+" NOT ILIKE "+like("%", ""), true
	case query.InDateRange:
		return column + " BETWEEN " + texts[0] + " AND " + texts[1]
	case query.NotInDateRange:
		return column + " NOT BETWEEN " + texts[0] + " AND " + texts[1]
	default:
		return column + " " + signs[f.Operator] + " " + list
	}
	if null != not {
		return "(" + condition + " OR " + column + " IS NULL)"
	}
	return condition
}

func (w writer) String() string {
	var columns, groups, where, having []string
	for _, d := range w.q.Dimensions {
		columns = append(columns, w.column(d))
	}
	for _, td := range w.q.TimeDimensions {
		if td.Granularity != "" {
			columns = append(columns, w.column(td.Dimension+"."+td.Granularity))
		}
		if td.DateRange != nil {
			where = append(where, w.column(td.Dimension)+" BETWEEN "+quote(td.DateRange.Texts[0])+" AND "+quote(td.DateRange.Texts[1]))
		}
	}
	for i := range columns {
		groups = append(groups, fmt.Sprint(i+1))
	}
	for _, m := range w.q.Measures {
		columns = append(columns, w.column(m))
	}
	for _, s := range w.q.Segments {
		where = append(where, w.column(s))
	}
	for _, f := range w.q.Filters {
		if f.Or != nil && strings.Contains(f.Or[0].Member, "orders.total") {
			having = append(having, w.filter(f))
		} else {
			where = append(where, w.filter(f))
		}
	}
	text := "SELECT " + strings.Join(columns, ", ") + " FROM orders"
	if w.q.JoinHints != nil {
		text += pick(w.author, " CROSS JOIN users", " LEFT JOIN users ON orders.__cubeJoinField = users.__cubeJoinField")
	}
	clause := func(word string, parts []string, sep string) {
		if len(parts) > 0 {
			text += "\n" + word + " " + strings.Join(parts, sep)
		}
	}
	clause("WHERE", where, " AND ")
	if !w.q.Ungrouped {
		clause("GROUP BY", groups, ", ")
	}
	clause("HAVING", having, " AND ")
	var order []string
	for _, o := range w.q.Order {
		order = append(order, w.column(o.ID)+map[bool]string{true: " DESC"}[o.Desc])
	}
	clause("ORDER BY", order, ", ")
	if w.q.Limit != nil {
		clause("LIMIT", []string{fmt.Sprint(*w.q.Limit)}, "")
	}
	if w.q.Offset > 0 {
		clause("OFFSET", []string{fmt.Sprint(w.q.Offset)}, "")
	}
	return text
}

// asAsked returns a query in the JSON of its normalized form.
func asAsked(t testing.TB, q query.Query) string {
	t.Helper()
	q, err := q.Normalize(query.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(q, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAQueryWrittenInSQLComesBack(t *testing.T) {
	catalog := newCatalog(t, loadShop(t))
	a := author{rand.New(rand.NewPCG(3, 4))}
	for range 3000 {
		want := a.query()
		text := writer{a, want}.String()
		got, err := queryOf(catalog, text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if got, want := asAsked(t, got), asAsked(t, want); got != want {
			t.Fatalf("%s\n got %s\nwant %s", text, got, want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		`SELECT status AS s, DATE_TRUNC('month', o.created_at), count(*) FROM public.orders o WHERE (status IN ('a', 'b') OR NOT paid IS NULL) AND created_at >= '2024-01-01'::timestamp GROUP BY 1, 2 HAVING MEASURE(total) > 1e3 ORDER BY 2 DESC LIMIT 5 OFFSET 1;`,
		`select u."country" from orders left outer join users u on orders.__cubeJoinField = u.__cubeJoinField where lower(status) not like '%\%a' /* /* */ */`,
		`SELECT count(*) FROM orders WHERE date_trunc('week', created_at) <> DATE '9999-12-31'`, `SELECT id FROM orders WHERE ((((`, "SELECT '", "\xff",
	} {
		f.Add(s)
	}
	catalog := newCatalog(f, loadShop(f))
	f.Fuzz(func(t *testing.T, text string) {
		q, err := queryOf(catalog, text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || !strings.HasPrefix(err.(*fault.Error).Detail, "Line ") {
				t.Fatalf("error of kind %q: %v", fault.KindOf(err), err)
			}
			return
		}
		sent, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := query.Decode(sent)
		if err == nil {
			_, err = b.Normalize(query.Options{Now: now})
		}
		if err != nil {
			t.Fatalf("the query API refuses what came of %q: %v\n%s", text, err, sent)
		}
		if strings.Contains(string(sent), "secret_name") {
			t.Fatalf("%q names what is hidden: %s", text, sent)
		}
	})
}
