package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The features of the priorities P0 and P1 of Cube's data model, by the words that a row must hold.
var featuresOfCube = map[string][]string{
	"P0": {
		"models in YAML", "models in JavaScript", "`sql_table`, `sql`", "`data_source`", "`sql_alias`", "joins: the three", "joins: synonyms",
		"dimensions: string, number, boolean", "dimensions: time", "dimensions: `case`", "`primary_key`", "`sub_query`",
		"count, sum, avg, min, max, count_distinct, number", "measures: `filters`", "`drill_members`", "segments", "`join_path`, `includes`, `excludes`, `prefix`, `alias`",
		"`extends` of cubes", "`extends` of views", "`title`, `description`, `meta`, `public`/`shown`, `format`", "`{CUBE}`", "`SECURITY_CONTEXT`/`USER_CONTEXT`",
		"`FILTER_PARAMS`", "`queryRewrite`", "`access_policy` with `member_level` and `row_level`", "`refresh_key`: `every`", "`refresh_key`: `sql`",
		"joins do not repeat", "granularities", "`rollup`",
	},
	"P1": {
		"`rolling_window`", "custom `granularities`", "`geo`", "`count_distinct_approx`", "`member_masking`", "`conditions`", "`FILTER_GROUP`", "partitions and incremental",
		"Jinja", "`COMPILE_CONTEXT`", "JavaScript: loops", "`hierarchies`, `folders`", "`propagate_filters_to_sub_query`", "measures: string, time, boolean",
		"`original_sql`, `indexes`", "`external: false`", "named formats, `currency`",
	},
}

// The rows of Cube's tables of dates, filters and errors, by what they begin with.
var rowsOfCube = map[string][]string{
	"Relative dates": {
		"1: this, last or next unit", "2: the last or next N units, without the current one", "3: today", "4: yesterday, tomorrow",
		"5: from A to B, by the smallest unit that is named", "6: one date", "what is no date", "the whole text, whatever its case",
		"in the zone of the query, on the days of change too",
	},
	"Filters by their parts": {
		"a filter: member, operator, values", "values: texts, numbers, booleans, null", "groups: `or` and `and`, one key, in one another",
		"an empty group is ignored", "the list itself is an `and`", "values that are missing", "an operator that there is not",
		"dimensions filter rows, measures groups of rows", "both in one group are refused", "the member need not be selected, and its cube is joined",
		"`equals`, `in`: one, several, with null, null alone", "`notEquals`, `notIn`: one, several, with null, null alone",
		"`contains`: one, several, with null, null alone", "`notContains`: one, several, with null, null alone", "`startsWith`, `notStartsWith`",
		"`endsWith`, `notEndsWith`", "`gt`, `gte`, `lt`, `lte`: one, the first of several, null alone", "`set`, `notSet`", "`inDateRange`, `onTheDate`",
		"`notInDateRange`", "`beforeDate`", "`beforeOrOnDate`", "`afterDate`", "`afterOrOnDate`", "`measureFilter`", "wildcards in values are text",
		"values are bound with the type of the member", "relative dates in filters", "one absolute date of a range is its whole day",
		"a day alone ends with its last moment", "types of members do not limit the operators",
	},
	"Errors of the query API": {
		"no token", "bad/expired token, any JWKS failure", "checkAuth threw", "scope", "context rejected by platform hook", "missing query",
		"query not JSON", "schema violation", "empty query", "bad date", "missing filter values", "client too old", "limit over cap", "unknown cube",
		"unknown member / wrong kind", "hidden member requested", "no join path", "requiredFilter missing", "model does not compile", "queryRewrite threw",
		"database error", "execution timeout", "rollup-only mode miss", "partitions not built (API instance)", "malformed JSON body", "still running",
		"anything else", "an object member expression", "`gt` with only null", "a bare-string JWT payload", "`authorization_required`",
		"`reauthorization_required`", "`app_disabled`", "`refresh_failing`", "`database_denied`", "`too_many_queued`", "`queue_timeout`",
	},
	"Errors of a data model": {
		"Unknown cube", "Unknown member", "No join path", "Row multiplication in number measure", "Missing pk with joins", "Unknown join target",
		"sql missing", "Wrong enum", "YAML root key", "Cron", "Custom granularity unknown", "COMPILE_CONTEXT standalone", "USER_CONTEXT, which is taken",
		"requiredFilter", "Policy condition", "View paths", "Measure+dimension in or-group",
	},
}

// testName matches a test as the tables name it: with the names of subtests, and its package.
var testName = regexp.MustCompile("`(Test\\w+)(/[^`]+)?` in `([^`]+)`")

// Every row of docs/reference/conformance.md names tests that exist, and no item is without a row.
func TestTheConformanceTablesNameTests(t *testing.T) {
	text := documents(t)["docs/reference/conformance.md"]
	rows := map[string][]string{} // by heading
	heading := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if after, ok := strings.CutPrefix(line, "## "); ok {
			heading = after
		}
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") {
			rows[heading] = append(rows[heading], line)
		}
	}
	for priority, features := range featuresOfCube {
		for _, f := range features {
			if !slices.ContainsFunc(rows["Features of the data model"], func(row string) bool {
				return strings.HasPrefix(row, "| "+priority+" |") && strings.Contains(strings.SplitN(row, "|", 4)[2], f)
			}) {
				t.Errorf("no row of %s is of %q", priority, f)
			}
		}
	}
	for list, items := range map[string]int{"The checklist of the query API": 15, "The checklist of the data model": 14, "The tests of the orchestrator": 16} {
		for i := 1; i <= items; i++ {
			if !slices.ContainsFunc(rows[list], func(row string) bool { return strings.HasPrefix(row, "| "+strconv.Itoa(i)+" |") }) {
				t.Errorf("%s has no item %d", list, i)
			}
		}
	}
	for table, begins := range rowsOfCube {
		for _, b := range begins {
			if !slices.ContainsFunc(rows[table], func(row string) bool { return strings.HasPrefix(row, "| "+b+" |") }) {
				t.Errorf("%s has no row %q", table, b)
			}
		}
	}
	cases, known := casesOfTheOracle(t)
	for _, row := range slices.Concat(slices.Collect(maps.Values(rows))...) {
		shown := row[strings.LastIndex(strings.TrimSuffix(row, "|"), "|")+1:]
		tests := testName.FindAllStringSubmatch(shown, -1)
		if len(tests) == 0 && !strings.Contains(shown, "not built yet: ") && !strings.Contains(shown, "not here: ") && !strings.Contains(shown, "shown by") {
			t.Errorf("no test is named by %s", row)
		}
		for _, m := range tests {
			oracle := m[1] == "TestRowsAreCubes"
			subtest := strings.TrimPrefix(m[2], "/")
			if oracle {
				subtest = "" // below: its names are those of the cases
			}
			if err := testExists(m[1], subtest, m[3]); err != nil {
				t.Errorf("%v, which is named by %s", err, row)
			}
			if !oracle || m[2] == "" {
				continue
			}
			pattern, found := m[2][1:], 0
			for _, name := range cases {
				ok, err := path.Match(pattern, name)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					continue
				}
				found++
				model, _, _ := strings.Cut(name, "/")
				if refused := known.Refused[model] != "" || known.Refused[name] != ""; refused != strings.Contains(shown, "refused by name") && pattern != "*/*" {
					t.Errorf("%s is refused: %v, and its row says otherwise: %s", name, refused, row)
				}
			}
			if found == 0 {
				t.Errorf("no case is %s, which is named by %s", pattern, row)
			}
		}
	}
	divergences := documents(t)["docs/divergences.md"]
	for name := range known.Divergent {
		if !strings.Contains(divergences, "`"+name+"`") {
			t.Errorf("docs/divergences.md does not say why %q differs from Cube", name)
		}
	}
}

type knownToTheOracle struct {
	Divergent, Refused map[string]string
}

// casesOfTheOracle returns the names of the cases that are compared with Cube, and what is known to differ.
func casesOfTheOracle(t *testing.T) (names []string, known knownToTheOracle) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal/sqlgen/testdata/oracle/*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		model := strings.TrimSuffix(filepath.Base(file), ".json")
		if model == "known" {
			if err := json.Unmarshal(text, &known); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var answers struct{ Cases []struct{ Name string } }
		if err := json.Unmarshal(text, &answers); err != nil {
			t.Fatal(err)
		}
		for _, c := range answers.Cases {
			names = append(names, model+"/"+c.Name)
		}
	}
	return names, known
}

// testExists returns an error unless a package has a test of that name, with a case that begins with what stands before a
// star in subtest.
func testExists(name, subtest, pkg string) error {
	files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		return err
	}
	begins, _, _ := strings.Cut(subtest, "*")
	begins = strings.TrimSpace(begins)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		_, after, found := strings.Cut(string(text), "\nfunc "+name+"(t *testing.T")
		if !found {
			continue
		}
		body, _, _ := strings.Cut(after, "\n}\n")
		if begins == "" || strings.Contains(body, `"`+begins) {
			return nil
		}
		if strings.Contains(string(text), `"`+begins) && !strings.Contains(body, "struct") {
			return nil // its cases stand beside it, as others share them
		}
		return fmt.Errorf("%s of %s has no case %q", name, pkg, subtest)
	}
	return fmt.Errorf("%s has no test %s", pkg, name)
}
