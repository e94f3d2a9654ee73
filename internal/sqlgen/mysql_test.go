package sqlgen_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	driver "github.com/go-sql-driver/mysql"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/mysql"
	"github.com/behalf-project/behalf/driverfactory/mysql/mariadbtest"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// openMariaDB returns a MariaDB as queries see it, in the sessions of our driver, and as filled, which may write and takes
// several statements at once. Its database is public, as the schema in the models.
func openMariaDB(t *testing.T, statements string) (db, filled *sql.DB) {
	t.Helper()
	cfg := mariadbtest.Config(t)
	cfg.MultiStatements = true
	connector, err := driver.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	filled = sql.OpenDB(connector)
	filled.SetMaxOpenConns(1) // it says USE once
	t.Cleanup(func() { filled.Close() })
	if _, err := filled.Exec("CREATE DATABASE public; USE public; SET time_zone = '+00:00';" + statements); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := filled.Exec("DROP DATABASE public"); err != nil {
			t.Error(err)
		}
	})
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := mysql.New().Connector(
		driverfactory.Source{Name: "default", Type: "mysql", Options: map[string]string{"host": host, "port": port, "database": "public"}},
		driverfactory.Login{Account: &driverfactory.ServiceAccount{User: cfg.User, Password: driverfactory.NewSecret(cfg.Passwd)}})
	if err != nil {
		t.Fatal(err)
	}
	db = sql.OpenDB(ours)
	t.Cleanup(func() { db.Close() })
	return db, filled
}

// inMariaDB is the schema of the shop: texts that can be keys, with case as Postgres has it, and numbers with fractions.
var inMariaDB = strings.NewReplacer(" text", " varchar(255) COLLATE utf8mb4_bin", " numeric", " decimal(20, 10)", " timestamp", " datetime(6)").Replace(schema)

var fractions = regexp.MustCompile(`(\.\d{4})\d+`)

// sortedShort sorts rows, since NULL comes first in MariaDB, and cuts fractions, of which a quotient has four digits.
func sortedShort(rows []string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = fractions.ReplaceAllString(r, "$1")
	}
	slices.Sort(out)
	return out
}

func TestRowsAreTheRightOnesInMariaDB(t *testing.T) {
	db, _ := openMariaDB(t, inMariaDB+seed)
	testRows(t, db, sqlgen.MySQL{}, sortedShort)
}

// A text beside a column of numbers is the number that it begins with, for MariaDB; a claim is not.
func TestAClaimIsNoOtherTenantInMariaDB(t *testing.T) {
	db, _ := openMariaDB(t, inMariaDB+seed+"INSERT INTO users VALUES (10, 0, 'IT', 60, true, 1)")
	m, err := datamodel.Load(fstest.MapFS{"shop.yml": {Data: []byte(`
cubes:
  - name: users
    sql: SELECT * FROM users WHERE {SECURITY_CONTEXT.tenant.filter('tenant_id')} AND {SECURITY_CONTEXT.country.filter('country')}
    measures: [{name: count, type: count}]
`)}})
	if err != nil {
		t.Fatal(err)
	}
	for tenant, want := range map[string]string{
		`7`: "2", `"7"`: "2", `8`: "0", `[7, 8]`: "2", `["7", "none"]`: "2", `"7 and more"`: "0", `"none"`: "0", `"' OR 1 = 1"`: "0", `["none", "8x"]`: "0", `true`: "0", `0`: "0",
	} {
		plan, err := sqlgen.Generate(m, context(t, `{"tenant": `+tenant+`, "country": "DE"}`), decode(t, `{"measures":["users.count"]}`), options(sqlgen.MySQL{}))
		if err != nil {
			t.Fatal(err)
		}
		if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, []string{want}) {
			t.Errorf("tenant %s sees %q, want %s\n%s", tenant, got, want, plan.SQL)
		}
	}
	plan, err := sqlgen.Generate(m, context(t, `{"tenant": ["none", "x"], "country": "IT"}`), decode(t, `{"measures":["users.count"]}`), options(sqlgen.MySQL{}))
	if err != nil {
		t.Fatal(err)
	}
	if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, []string{"0"}) {
		t.Errorf("a tenant that is no number sees %q, want 0: not those of tenant 0\n%s", got, plan.SQL)
	}
}

// Where NULL stands in an order is the database's choice, as it is Cube's.
func TestNullComesFirstInMariaDB(t *testing.T) {
	db, _ := openMariaDB(t, inMariaDB+seed)
	plan, err := sqlgen.Generate(loadShop(t), context(t, tenant7), decode(t, `{"dimensions":["orders.status"],"order":[["orders.status","asc"]],"limit":2}`), options(sqlgen.MySQL{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rows(t, db, plan.SQL, plan.Args), []string{"-", "done"}; !slices.Equal(got, want) {
		t.Errorf("rows = %q, want %q", got, want)
	}
}

func TestLiteralsAndNamesMeanThemselvesInMariaDB(t *testing.T) {
	db, _ := openMariaDB(t, "")
	for _, s := range []string{`it's`, `a\`, `\'`, `''`, `"`, "`", "a`b", `%_`, "a\nb", `\n`, "ünï", `--`, `/*`, `?`, `' OR 1 = 1 -- `} {
		var text string
		found, err := db.Query("SELECT " + sqlgen.MySQL{}.Literal(s) + " AS " + sqlgen.MySQL{}.Quote(s))
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		names, err := found.Columns()
		if err != nil || !found.Next() {
			t.Fatalf("%q: %v, %v", s, err, found.Err())
		}
		if err := found.Scan(&text); err != nil || text != s || names[0] != s {
			t.Errorf("%q came back as %q in a column %q, %v", s, text, names[0], err)
		}
		found.Close()
	}
}

func TestSumsAreRightWhateverTheJoinsRepeatInMariaDB(t *testing.T) {
	db, filled := openMariaDB(t, inMariaDB)
	testSums(t, db, filled, sqlgen.MySQL{})
}

// ofMariaDB says the same of the models of the tests in MariaDB's words.
var ofMariaDB = strings.NewReplacer(
	"date_trunc('year', {created_at})", "MAKEDATE(YEAR({created_at}), 1)",
	"INTERVAL '1 day'", "INTERVAL 1 DAY",
	"EXTRACT(DOW FROM {CUBE.created_at})", "DAYOFWEEK({CUBE.created_at}) - 1",
	"{CUBE}.order_id || '-' || {CUBE}.line", "CONCAT({CUBE}.order_id, '-', {CUBE}.line)",
	"order_id || '-' || line", "CONCAT(order_id, '-', line)",
	"::numeric", "", "::timestamptz", "", "POLICY", "",
)

// loadInMariaDB returns a model of the tests for MariaDB.
func loadInMariaDB(t *testing.T, text string) *datamodel.Model {
	t.Helper()
	m, err := datamodel.Load(fstest.MapFS{"model.yml": {Data: []byte(ofMariaDB.Replace(text))}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCustomGranularitiesInMariaDB(t *testing.T) {
	db, filled := openMariaDB(t, inMariaDB)
	testBuckets(t, loadInMariaDB(t, fiscal), db, filled, sqlgen.MySQL{})
}

func TestRollingWindowsInMariaDB(t *testing.T) {
	db, filled := openMariaDB(t, inMariaDB+seed)
	testWindows(t, loadInMariaDB(t, windowed), db, sqlgen.MySQL{}, sortedShort)
	testWindowSums(t, db, filled, sqlgen.MySQL{})
}

// copied returns statements that make MariaDB's tables and rows those of a Postgres.
func copied(t *testing.T, db *sql.DB) string {
	t.Helper()
	columns, err := table(db, "SELECT table_name t, column_name c, data_type d FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position", nil)
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"text": "VARCHAR(255) COLLATE utf8mb4_bin", "numeric": "DECIMAL(20, 10)", "double precision": "DOUBLE", "integer": "INT",
		"boolean": "BOOLEAN", "timestamp without time zone": "DATETIME(6)", "timestamp with time zone": "DATETIME(6)"}
	names := map[string][]string{}
	declared := map[string][]string{}
	for _, c := range columns {
		kind := types[c["d"]]
		if c["c"] == "lat" || c["c"] == "lng" {
			kind = "DOUBLE" // whose text is short
		}
		names[c["t"]] = append(names[c["t"]], c["c"])
		declared[c["t"]] = append(declared[c["t"]], c["c"]+" "+kind)
		if strings.HasSuffix(c["c"], "id") && kind == "INT" || c["c"] == "sku" { // what is joined
			declared[c["t"]] = append(declared[c["t"]], "KEY ("+c["c"]+")")
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "CREATE TABLE %s (%s);", name, strings.Join(declared[name], ", "))
		found, err := table(db, "SELECT * FROM "+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, row := range found {
			var cells []string
			for _, c := range names[name] {
				switch v := row[c]; v {
				case "-":
					cells = append(cells, "NULL")
				case "true", "false":
					cells = append(cells, v)
				default:
					cells = append(cells, sqlgen.MySQL{}.Literal(v))
				}
			}
			lines = append(lines, "("+strings.Join(cells, ", ")+")")
		}
		fmt.Fprintf(&b, "INSERT INTO %s VALUES %s;", name, strings.Join(lines, ", "))
	}
	return b.String()
}

// alikeInMariaDB shows rows as MariaDB's and Postgres's are alike: booleans are numbers, and a quotient has few digits.
func alikeInMariaDB(rows []map[string]string) []string {
	for _, row := range rows {
		for name, v := range row {
			switch f, err := strconv.ParseFloat(v, 64); {
			case v == "true":
				row[name] = "1"
			case v == "false":
				row[name] = "0"
			case err == nil:
				row[name] = strings.TrimRight(strings.TrimRight(strconv.FormatFloat(f, 'f', 2, 64), "0"), ".")
			}
		}
	}
	return slices.Sorted(slices.Values(lines(rows)))
}

// notInMariaDB are the cases whose answers differ there.
var notInMariaDB = []string{
	// A limit cuts rows that begin, or end, with NULL.
	"fan_out/ordered and limited", "fan_out/total of what is multiplied", "long_chain/ordered by what is multiplied", "long_chain/total",
	"paging/default order by dimension", "paging/total", "paging/total with having", "paging/total of dimensions",
	// The model says BOOL_AND.
	"measures/all_paid alone", "measures/all_paid by status",
	// The model joins texts by ||, which is OR there.
	"commerce/a text of two cubes", "reporting/a measure with its own aggregate", "reporting/a cube made of another", "reporting/addresses made of names",
}

// TestRowsAreCubesInMariaDB compares our rows in MariaDB with those of Cube's SQL for Postgres, in Postgres.
func TestRowsAreCubesInMariaDB(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(oracleFolder, "data.sql"))
	if err != nil {
		t.Fatal(err)
	}
	pg := openShop(t, "DROP TABLE users, orders, line_items, products;"+string(data))
	db, _ := openMariaDB(t, copied(t, pg))
	known := readKnown(t)
	compared := 0
	all := oracleCases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		files, answers := readOracle(t, name)
		text, err := fs.ReadFile(files, "model.yml")
		if known.Refused[name] != "" || errors.Is(err, fs.ErrNotExist) {
			continue // a model in a folder has words that only Postgres has
		}
		m := loadInMariaDB(t, string(text))
		for i, c := range all[name] {
			full := name + "/" + c.name
			if _, ok := known.of(name, c.name); ok || answers.Cases[i].Error != "" || slices.Contains(notInMariaDB, full) {
				continue
			}
			t.Run(full, func(t *testing.T) {
				compared++
				o := options(sqlgen.MySQL{})
				o.ShowHidden = true
				plan, err := sqlgen.Generate(m, context(t, c.claims()), decode(t, c.query), o)
				if err != nil {
					t.Fatal(err)
				}
				same := func(ours string, args []any, theirs string, theirArgs []any) {
					got, err := table(db, ours, args)
					if err != nil {
						t.Fatalf("%v\n%s\n%v", err, ours, args)
					}
					want, err := table(pg, theirs, textArgs(theirArgs))
					if err != nil {
						t.Fatal(err)
					}
					if a, b := alikeInMariaDB(got), alikeInMariaDB(want); !slices.Equal(a, b) {
						t.Errorf("rows differ: %s\nours %s\n%v\nCube's %s\n%v", firstDifference(a, b), ours, args, theirs, theirArgs)
					}
				}
				same(plan.SQL, plan.Args, answers.Cases[i].SQL, answers.Cases[i].Args)
				if plan.Total != nil {
					same(plan.Total.SQL, plan.Total.Args, answers.Cases[i].TotalSQL, answers.Cases[i].TotalArgs)
				}
			})
		}
	}
	if compared < 500 {
		t.Errorf("%d cases, want 500", compared)
	}
}

// A policy or a row rule whose member is a text in the model and a number in the table, or the other way round, lets nobody
// be another tenant in MariaDB either.
func TestARuleIsNoOtherTenantInMariaDB(t *testing.T) {
	db, _ := openMariaDB(t, `
CREATE TABLE t (tenant BIGINT, name VARCHAR(255) COLLATE utf8mb4_bin);
INSERT INTO t VALUES (0, 'zero'), (7, '7-eu'), (8, '8'), (1234567890123456789, 'Acme'), (1234567890123456790, 'acme'), (NULL, NULL);`)
	const model = `
cubes:
  - name: t
    sql_table: t
    dimensions:
      - {name: tenant, sql: tenant, type: string, public: false}
      - {name: number, sql: name, type: number, public: false}
      - {name: name, sql: name, type: string}
    measures: [{name: count, type: count}]
    POLICY
RULE
`
	for _, tt := range []struct{ member, operator, claim, want string }{
		{"tenant", "equals", `"7"`, "1"}, {"tenant", "equals", `7`, "1"}, {"tenant", "equals", `"7abc"`, "0"}, {"tenant", "equals", `"evil"`, "0"},
		{"tenant", "equals", `"7.0"`, "1"}, {"tenant", "equals", `["7", "8x"]`, "1"}, {"tenant", "equals", `["7x", "evil"]`, "0"},
		{"tenant", "equals", `"1234567890123456789"`, "1"}, {"tenant", "equals", `1234567890123456790`, "1"},
		{"tenant", "notEquals", `"7abc"`, "6"}, {"tenant", "notEquals", `"evil"`, "6"}, {"tenant", "notEquals", `"7"`, "5"}, {"tenant", "notEquals", `["7", "8x"]`, "5"},
		{"number", "equals", `7`, "0"}, {"number", "equals", `"8"`, "1"}, {"number", "notEquals", `7`, "6"},
		{"name", "equals", `"acme"`, "1"}, {"name", "equals", `"7"`, "0"}, {"name", "notEquals", `"acme"`, "5"},
	} {
		filter := fmt.Sprintf(`{member: %s, operator: %s, values: ["{context.tenant}"]}`, tt.member, tt.operator)
		for name, replace := range map[string]*strings.Replacer{
			"rule":   strings.NewReplacer("POLICY", "", "RULE", "row_rules: [{cubes: [t], filter: "+filter+" }]"),
			"policy": strings.NewReplacer("POLICY", `access_policy: [{group: "*", row_level: {filters: [`+filter+`]} }]`, "RULE", ""),
		} {
			m, err := datamodel.Load(fstest.MapFS{"t.yml": {Data: []byte(strings.ReplaceAll(replace.Replace(model), "context", map[string]string{"rule": "context", "policy": "securityContext"}[name]))}})
			if err != nil {
				t.Fatal(err)
			}
			sc := context(t, `{"tenant": `+tt.claim+`}`)
			plan, err := sqlgen.Generate(m, caller(nil, sc.Template), decode(t, `{"measures":["t.count"]}`), options(sqlgen.MySQL{}))
			if err != nil {
				t.Fatal(err)
			}
			if got := rows(t, db, plan.SQL, plan.Args); !slices.Equal(got, []string{tt.want}) {
				t.Errorf("%s: %s %s %s lets %q through, want %s\n%s\n%v", name, tt.member, tt.operator, tt.claim, got, tt.want, plan.SQL, plan.Args)
			}
		}
	}
}
