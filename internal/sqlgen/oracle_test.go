package sqlgen_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// askOracle makes Cube's answers anew. It needs Node, and Cube's compiler in the folder oracle: make oracle installs it.
var askOracle = flag.String("oracle", "", "the models in testdata/oracle about which Cube's compiler is asked again, with commas between them, or all")

// oracleFolder has a model of each name, in one file (.yml) or in a folder, and what Cube says to its cases (.json). Models
// in folders are as projects have them: in both languages, and in words that only Postgres has.
const oracleFolder = "testdata/oracle"

// oracleAnswers are Cube's answers to the cases of one model.
type oracleAnswers struct {
	Version string         `json:"version"` // of @cubejs-backend/schema-compiler
	Model   string         `json:"model"`   // SHA-256 of the model's files
	Error   string         `json:"error,omitempty"`
	Meta    []any          `json:"meta,omitempty"` // the cubes of /meta
	Cases   []oracleAnswer `json:"cases"`
}

// oracleAnswer is the SQL that Cube makes of a query, or why it makes none.
type oracleAnswer struct {
	Name      string          `json:"name"`
	Query     json.RawMessage `json:"query"`
	Context   json.RawMessage `json:"context,omitempty"`
	SQL       string          `json:"sql,omitempty"`
	Args      []any           `json:"args,omitempty"`
	TotalSQL  string          `json:"totalSQL,omitempty"`
	TotalArgs []any           `json:"totalArgs,omitempty"`
	Error     string          `json:"error,omitempty"`
}

// oracleKnown is what is known to differ, with a part of what the comparison says: cases on purpose, as
// docs/divergences.md says, and models and cases that are refused by name until their feature is built. Whoever builds
// one takes it out.
type oracleKnown struct {
	Divergent map[string]string `json:"divergent"`
	Refused   map[string]string `json:"refused"`
}

// of returns what the comparison says about a case that is known to differ.
func (k oracleKnown) of(model, name string) (string, bool) {
	full := model + "/" + name
	for _, want := range []string{k.Divergent[full], k.Refused[full], k.Refused[model]} {
		if want != "" {
			return want, true
		}
	}
	return "", false
}

func readKnown(t *testing.T) (known oracleKnown) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(oracleFolder, "known.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &known); err != nil {
		t.Fatal(err)
	}
	return known
}

// TestRowsAreCubes runs Cube's SQL and ours on the same rows of the same Postgres, for every case of every model.
func TestRowsAreCubes(t *testing.T) {
	if *askOracle != "" {
		writeOracle(t)
	}
	data := "DROP TABLE users, orders, line_items, products;"
	for _, name := range []string{"data.sql", "projects.sql"} {
		text, err := os.ReadFile(filepath.Join(oracleFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		data += string(text)
	}
	db := openShop(t, data)
	known := readKnown(t)
	seen, compared := map[string]bool{}, 0
	all := oracleCases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			files, answers := readOracle(t, name)
			m, loadErr := datamodel.Load(files, jsmodel.New(jsmodel.Config{}))
			seen[name] = true
			for i, c := range all[name] {
				seen[name+"/"+c.name] = true
				t.Run(c.name, func(t *testing.T) {
					if i >= len(answers.Cases) || answers.Cases[i].Name != c.name || !sameJSON(answers.Cases[i].Query, c.query) {
						t.Fatal("Cube was not asked this; run: make oracle")
					}
					compared++
					got := loadErr
					if got == nil {
						got = sameRows(t, db, m, c, answers.Cases[i])
					}
					if want, ok := known.of(name, c.name); ok {
						if got == nil || !strings.Contains(got.Error(), want) {
							t.Errorf("got %v, want the difference %q; if it is gone, take it out of known.json", got, want)
						}
						return
					}
					if got != nil {
						t.Error(got)
					}
				})
			}
		})
	}
	for _, list := range []map[string]string{known.Divergent, known.Refused} {
		for name := range list {
			if !seen[name] {
				t.Errorf("known.json: there is no case %q", name)
			}
		}
	}
	if len(all) < 25 || compared < 300 {
		t.Errorf("%d models and %d cases, want 25 and 300", len(all), compared)
	}
}

// readOracle returns the files of a model and Cube's answers to its cases.
func readOracle(t *testing.T, name string) (fs.FS, oracleAnswers) {
	t.Helper()
	files := oracleFiles(t, name)
	golden, err := os.ReadFile(filepath.Join(oracleFolder, name+".json"))
	if err != nil {
		t.Fatalf("%v; run: make oracle", err)
	}
	var answers oracleAnswers
	d := json.NewDecoder(bytes.NewReader(golden))
	d.UseNumber()
	if err := d.Decode(&answers); err != nil {
		t.Fatal(err)
	}
	if answers.Model != digest(files) {
		t.Fatal("the model is not the one that Cube was asked about; run: make oracle")
	}
	folder := fstest.MapFS{}
	for _, f := range files {
		folder[f.Name] = &fstest.MapFile{Data: []byte(f.Text)}
	}
	return folder, answers
}

// oracleFile is a file of a model.
type oracleFile struct {
	Name string `json:"fileName"`
	Text string `json:"content"`
}

// oracleFiles returns the files of a model, in the order of their names.
func oracleFiles(t *testing.T, name string) (files []oracleFile) {
	t.Helper()
	folder := filepath.Join(oracleFolder, name)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files = append(files, oracleFile{filepath.ToSlash(strings.TrimPrefix(path, folder+string(filepath.Separator))), string(text)})
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		var text []byte
		text, err = os.ReadFile(folder + ".yml")
		files = []oracleFile{{"model.yml", string(text)}}
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// digest returns the SHA-256 of the text of one file, or of the names and texts of several.
func digest(files []oracleFile) string {
	h := sha256.New()
	for _, f := range files {
		if len(files) > 1 {
			fmt.Fprintf(h, "%s %d\n", f.Name, len(f.Text))
		}
		h.Write([]byte(f.Text))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func sameJSON(a json.RawMessage, b string) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, []byte(b)) == nil && x.String() == y.String()
}

// sameRows returns how our answer to a case differs from Cube's.
func sameRows(t *testing.T, db *sql.DB, m *datamodel.Model, c oracleCase, cube oracleAnswer) error {
	t.Helper()
	q := decode(t, c.query)
	o := options(sqlgen.Postgres{})
	o.ShowHidden = true
	plan, err := sqlgen.Generate(m, context(t, c.claims()), q, o)
	if cube.Error != "" || err != nil {
		if cube.Error == "" {
			return fmt.Errorf("Cube answers this, and we refuse it: %w", err)
		}
		if err == nil {
			return fmt.Errorf("Cube refuses this, and we do not: %s", cube.Error)
		}
		return nil
	}
	if err := sameAnswer(db, plan.SQL, plan.Args, cube.SQL, cube.Args, orderColumns(plan)); err != nil {
		return err
	}
	if q.Total {
		return sameAnswer(db, plan.Total.SQL, plan.Total.Args, cube.TotalSQL, cube.TotalArgs, nil)
	}
	return nil
}

// orderColumns returns the columns by which a plan's rows are in order.
func orderColumns(plan sqlgen.Plan) (aliases []string) {
	for _, o := range plan.Order {
		for _, c := range plan.Columns {
			if slices.Contains(c.Keys, o.ID) {
				aliases = append(aliases, c.Alias)
			}
		}
	}
	return aliases
}

// sameAnswer runs two statements and returns how their rows differ: as sets, and in the order of the columns that are
// given. What these do not settle is in any order.
func sameAnswer(db *sql.DB, ours string, args []any, theirs string, theirArgs []any, order []string) error {
	got, err := table(db, ours, args)
	if err != nil {
		return fmt.Errorf("ours does not run: %w\n%s\n%v", err, ours, args)
	}
	want, err := table(db, theirs, textArgs(theirArgs))
	if err != nil {
		return fmt.Errorf("Cube's does not run: %w", err)
	}
	for _, alias := range order {
		if a, b := column(got, alias), column(want, alias); !slices.Equal(a, b) {
			return fmt.Errorf("rows differ in the order of %s: %s\nours %s\n%v\nCube's %s\n%v", alias, firstDifference(a, b), ours, args, theirs, theirArgs)
		}
	}
	a, b := slices.Sorted(slices.Values(lines(got))), slices.Sorted(slices.Values(lines(want)))
	if !slices.Equal(a, b) {
		return fmt.Errorf("rows differ: %s\nours %s\n%v\nCube's %s\n%v", firstDifference(a, b), ours, args, theirs, theirArgs)
	}
	return nil
}

// column returns the cells of one column, in the order of the rows.
func column(rows []map[string]string, alias string) (cells []string) {
	for _, r := range rows {
		cells = append(cells, r[alias])
	}
	return cells
}

// lines shows each row with the names of its columns, in the order of the alphabet: which column comes first is not
// Cube's promise, their names are.
func lines(rows []map[string]string) (texts []string) {
	for _, r := range rows {
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(r)) {
			b.WriteString(name + "=" + r[name] + " ")
		}
		texts = append(texts, b.String())
	}
	return texts
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return fmt.Sprintf("%d of ours, %d of Cube's, from row %d on: ours %q, Cube's %q", len(a), len(b), i,
				a[min(i, len(a)):min(i+3, len(a))], b[min(i, len(b)):min(i+3, len(b))])
		}
	}
	return ""
}

// textArgs are values as Cube's Postgres driver sends them: as text.
func textArgs(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if out[i] = a; a != nil {
			out[i] = fmt.Sprint(a)
		}
	}
	return out
}

// table runs a statement and returns the cells of its rows by the names of the columns.
func table(db *sql.DB, statement string, args []any) ([]map[string]string, error) {
	found, err := db.Query(statement, args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		return nil, err
	}
	var out []map[string]string
	for found.Next() {
		cells := make([]any, len(names))
		for i := range cells {
			cells[i] = new(any)
		}
		if err := found.Scan(cells...); err != nil {
			return nil, err
		}
		row := map[string]string{}
		for i, c := range cells {
			row[names[i]] = value(*c.(*any))
		}
		out = append(out, row)
	}
	return out, found.Err()
}

// value shows a cell so that equal numbers are equal texts: with twelve digits, which is more than a float's sum keeps.
func value(v any) string {
	text := cell(v)
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return strconv.FormatFloat(f, 'g', 12, 64)
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at.UTC().Format("2006-01-02T15:04:05.000")
	}
	return text
}

// asCubeGetsIt returns the query after Cube's gateway.
func (c oracleCase) asCubeGetsIt() string {
	if c.handedOn != "" {
		return c.handedOn
	}
	return c.query
}

func (c oracleCase) claims() string {
	if c.context == "" {
		return "{}"
	}
	return c.context
}

// TestMetaIsCubes compares what /meta says of each model with what Cube's says.
func TestMetaIsCubes(t *testing.T) {
	known := readKnown(t)
	for name := range oracleCases() {
		t.Run(name, func(t *testing.T) {
			files, answers := readOracle(t, name)
			m, err := datamodel.Load(files, jsmodel.New(jsmodel.Config{}))
			if want := known.Refused[name]; want != "" {
				return // TestRowsAreCubes has seen that the model does not load
			}
			if err != nil {
				t.Fatal(err)
			}
			ours, err := json.Marshal(m.Meta(datamodel.MetaOptions{ShowHidden: true}).Cubes)
			if err != nil {
				t.Fatal(err)
			}
			var got []any
			d := json.NewDecoder(bytes.NewReader(ours))
			d.UseNumber()
			if err := d.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(answers.Meta, got); diff != "" {
				t.Errorf("meta (-Cube +ours):\n%s", diff)
			}
		})
	}
}

// The cases ask with every operator of cube-rest-api.md §9.2.
func TestEveryOperatorIsCompared(t *testing.T) {
	var all strings.Builder
	for _, c := range operatorCases() {
		all.WriteString(c.query)
	}
	for _, op := range []query.Operator{query.Equals, query.NotEquals, query.In, query.NotIn, query.Contains, query.NotContains, query.StartsWith,
		query.NotStartsWith, query.EndsWith, query.NotEndsWith, query.GT, query.GTE, query.LT, query.LTE, query.Set, query.NotSet, query.InDateRange,
		query.NotInDateRange, query.OnTheDate, query.BeforeDate, query.BeforeOrOnDate, query.AfterDate, query.AfterOrOnDate, query.MeasureFilter} {
		if !strings.Contains(all.String(), fmt.Sprintf(`"operator":%q`, op)) {
			t.Errorf("no case has the operator %s", op)
		}
	}
}

// writeOracle asks Cube about all cases and writes what it says.
func writeOracle(t *testing.T) {
	t.Helper()
	type asked struct {
		Name    string          `json:"name"`
		Query   json.RawMessage `json:"query"`
		Context json.RawMessage `json:"context"`
	}
	type model struct {
		Name  string       `json:"name"`
		Files []oracleFile `json:"files"`
		Cases []asked      `json:"cases"`
	}
	var request struct {
		Models []model `json:"models"`
	}
	all := oracleCases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if *askOracle != "all" && !slices.Contains(strings.Split(*askOracle, ","), name) {
			continue
		}
		ask := model{Name: name, Files: oracleFiles(t, name)}
		for _, c := range all[name] {
			normalized, err := json.Marshal(decode(t, c.asCubeGetsIt()))
			if err != nil {
				t.Fatal(err)
			}
			ask.Cases = append(ask.Cases, asked{c.name, normalized, json.RawMessage(c.claims())})
		}
		request.Models = append(request.Models, ask)
	}
	stdin, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "compile.mjs")
	cmd.Dir, cmd.Stdin = "oracle", bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("Cube's compiler: %v; make oracle installs it\n%s", err, &errs)
	}
	var said struct {
		Version string `json:"version"`
		Models  []struct {
			Name  string         `json:"name"`
			Error string         `json:"error"`
			Meta  []any          `json:"meta"`
			Cases []oracleAnswer `json:"cases"`
		} `json:"models"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	for i, m := range said.Models {
		answers := oracleAnswers{Version: said.Version, Model: digest(request.Models[i].Files), Error: m.Error, Meta: m.Meta}
		for j, c := range all[m.Name] {
			a := oracleAnswer{Name: c.name, Error: m.Error}
			if m.Error == "" {
				a = m.Cases[j]
			}
			a.Query = json.RawMessage(c.query)
			if c.context != "" {
				a.Context = json.RawMessage(c.context)
			}
			answers.Cases = append(answers.Cases, a)
		}
		text, err := json.MarshalIndent(answers, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(oracleFolder, m.Name+".json"), append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
