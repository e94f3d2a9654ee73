package jsmodel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
)

// asker returns a COMPILE_CONTEXT, given in JSON with its security context.
func asker(t *testing.T, claims string) map[string]any {
	t.Helper()
	var c map[string]any
	d := json.NewDecoder(strings.NewReader(claims))
	d.UseNumber()
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"securityContext": c}
}

// compile compiles files, given as name, text, name, text.
func compile(c *datamodel.Compilation, files ...string) (*datamodel.Model, error) {
	folder := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		folder[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return c.Load(context.Background(), folder, jsmodel.New(jsmodel.Config{}))
}

// template returns a cube "a" over a table that a template names.
func template(table string) string {
	return "cubes:\n  - name: a\n    sql_table: t_" + table + "\n    measures: [{name: n, type: count}]\n"
}

func TestTheCompileContextIsThatOfTheModel(t *testing.T) {
	for name, text := range map[string]string{
		"a.js":  a("`SELECT * FROM ${process.env.SCHEMA}.${COMPILE_CONTEXT.securityContext.tenant}`"),
		"a.yml": "cubes:\n  - name: a\n    sql: SELECT * FROM {{ env_var('SCHEMA') }}.{{ COMPILE_CONTEXT.securityContext.tenant }}\n    measures: [{name: n, type: count}]\n",
	} {
		m, err := compile(&datamodel.Compilation{ByAppID: true, Asker: asker(t, `{"tenant": "acme"}`), Variables: datamodel.Variables{Granted: map[string]string{"SCHEMA": "s"}}}, name, text)
		if err != nil {
			t.Fatal(err)
		}
		if sql, _, err := generate(m, nil, count, sqlgen.Options{}); err != nil || tableOf(t, sql) != "s.acme" {
			t.Errorf("%s: sql = %s, %v", name, sql, err)
		}
	}
}

// Two people of one application id get one model where they have the same in what it reads, and else it says where not:
// whichever of them asked first.
func TestWhatAModelReadsOfTheCompileContextIsRecorded(t *testing.T) {
	const alice = `{"tenant": "acme", "admin": true, "level": 3, "teams": ["a", "b"], "org": {"unit": "x", "size": 7}, "none": null, "iat": 1, "exp": 100}`
	for _, tt := range []struct {
		name, js, jinja string // a text for the name of a table; "" where the language has no such way
		other           string // somebody else
		where           string // what they differ in that was read; "" is nothing
	}{
		{"what is not read may differ", "c.tenant", "c.tenant", `{"tenant": "acme", "iat": 2}`, ""},
		{"a text", "c.tenant", "c.tenant", `{"tenant": "evil"}`, ".tenant"},
		{"a text by index", "c['tenant']", "c['tenant']", `{"tenant": "evil"}`, ".tenant"},
		{"a number", "c.level", "c.level", `{"level": 4}`, ".level"},
		{"a number and its text", "c.level", "c.level", `{"level": "3"}`, ".level"},
		{"a condition", "c.admin ? 'all' : 'own'", "'all' if c.get('admin') else 'own'", `{"tenant": "acme"}`, ".admin"},
		{"a comparison", "c.tenant === 'acme'", "c.tenant == 'acme'", `{"tenant": "evil"}`, ".tenant"},
		{"what is missing", "c.auditor || 'x'", "c.auditor | default('x')", `{"auditor": "yes"}`, ".auditor"},
		{"what is missing, by get", "", "c.get('auditor', 'x')", `{"auditor": "yes"}`, ".auditor"},
		{"what is there, by get", "", "c.get('tenant', 'x')", `{"tenant": "evil"}`, ".tenant"},
		{"what is missing in what is missing", "c.a?.b ?? 'x'", "", `{"a": {"b": 1}}`, ".a"},
		{"what is null", "c.none ?? 'x'", "c.none | default('x')", `{}`, ".none"},
		{"whether it is there", "'auditor' in c", "c.auditor is defined", `{"auditor": null}`, ".auditor"},
		{"whether it is its own", "Object.hasOwn(c, 'auditor') + c.hasOwnProperty('auditor')", "", `{"auditor": null}`, ".auditor"},
		{"a name of the prototype", "typeof c.toString", "", `{"toString": 1}`, ".toString"},
		{"a list", "c.teams.includes('b')", "'b' in c.teams", `{"teams": ["a"]}`, ".teams"},
		{"an item of a list", "c.teams[0]", "c.teams[0]", `{"teams": ["a", "c"]}`, ".teams"},
		{"a loop over a list", "c.teams.map((x) => x).join('_')", "c.teams | join('_')", `{"teams": ["a", "b", "c"]}`, ".teams"},
		{"inside of an object", "c.org.unit", "c.org.unit", `{"org": {"unit": "y", "size": 7}}`, ".org.unit"},
		{"beside what is read of an object", "c.org.unit", "c.org.unit", `{"org": {"unit": "x", "size": 8}}`, ""},
		{"that it is an object", "c.org ? 'x' : 'y'", "'x' if c.org else 'y'", `{"org": "z"}`, ".org"},
		{"an object by another name", "(({ org }) => org.unit)(c)", "", `{"org": {"unit": "y"}}`, ".org.unit"},
		{"the names of an object", "Object.keys(c.org).length", "", `{"org": {"unit": "x", "size": 7, "more": 1}}`, ".org"},
		{"the values of an object", "Object.values(c.org).join('_')", "", `{"org": {"unit": "x", "size": 8}}`, ".org.size"},
		{"a copy of an object", "({ ...c.org }).unit", "", `{"org": {"unit": "x", "size": 8}}`, ".org.size"},
		{"the text of an object", "JSON.stringify(c.org).length", "", `{"org": {"unit": "x", "size": 8}}`, ".org.size"},
		{"a property's description", "Object.getOwnPropertyDescriptor(c, 'tenant').value", "", `{"tenant": "evil"}`, ".tenant"},
		{"by reflection", "Reflect.get(c, 'tenant')", "", `{"tenant": "evil"}`, ".tenant"},
	} {
		for _, one := range [][2]string{
			{"a.js", "const c = COMPILE_CONTEXT.securityContext; " + a("`SELECT * FROM t_${"+tt.js+"}`")},
			{"a.yml", "{% set c = COMPILE_CONTEXT.securityContext %}\n" + template("{{ "+tt.jinja+" }}")},
		} {
			if one[0] == "a.js" && tt.js == "" || one[0] == "a.yml" && tt.jinja == "" {
				continue
			}
			t.Run(tt.name+" in "+one[0], func(t *testing.T) {
				for first, second := range map[string]string{alice: tt.other, tt.other: alice} {
					// The other has what the first has, but for what is said.
					first, second := asker(t, merged(t, alice, first, tt.other)), asker(t, merged(t, alice, second, tt.other))
					m, err := compile(&datamodel.Compilation{ByAppID: true, Asker: first}, one[:]...)
					if err != nil {
						t.Fatal(err)
					}
					if where, ok := m.Agrees(first); !ok {
						t.Errorf("the model is not for whom it was compiled: %s", where)
					}
					want := tt.where
					if want != "" {
						want = "COMPILE_CONTEXT.securityContext" + want
					}
					if where, ok := m.Agrees(second); where != want || ok != (want == "") {
						t.Errorf("compiled for %v, for %v: %q, %t, want %q", first, second, where, ok, want)
					}
				}
			})
		}
	}
}

// merged returns everything of all, where one of them is the other: {} drops what alice has and the test is about.
func merged(t *testing.T, all, one, other string) string {
	t.Helper()
	if one == all {
		return all
	}
	var base, over map[string]any
	if err := errors.Join(json.Unmarshal([]byte(all), &base), json.Unmarshal([]byte(other), &over)); err != nil {
		t.Fatal(err)
	}
	if len(over) == 0 {
		delete(base, "none")
	}
	if _, keeps := over["tenant"]; keeps && len(over) == 1 && over["tenant"] == "acme" {
		delete(base, "admin")
	}
	for name, v := range over {
		base[name] = v
	}
	text, err := json.Marshal(base)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What a model does not read when it is compiled is not there for SQL that is computed for each query: it would be of
// whoever asked first.
func TestNothingMoreOfTheCompileContextIsReadForAQuery(t *testing.T) {
	const decides = "SECURITY_CONTEXT.role.unsafeValue() === 'x' ? `SELECT * FROM t_${%s}` : 'SELECT * FROM t'"
	claims := map[string]any{"role": "x"}
	c := func() *datamodel.Compilation {
		return &datamodel.Compilation{ByAppID: true, Asker: asker(t, `{"tenant": "acme", "secret": "canary"}`)}
	}
	m, err := compile(c(), "a.js", "const { tenant } = COMPILE_CONTEXT.securityContext; "+a(fmt.Sprintf(decides, "tenant")))
	if err != nil {
		t.Fatal(err)
	}
	if sql, _, err := generate(m, claims, count, sqlgen.Options{}); err != nil || !strings.Contains(sql, "t_acme") {
		t.Errorf("a value that was read: %s, %v", sql, err)
	}
	for _, read := range []string{
		"COMPILE_CONTEXT.securityContext.secret", "Object.keys(COMPILE_CONTEXT.securityContext)", "JSON.stringify(COMPILE_CONTEXT)",
		"(() => { try { return COMPILE_CONTEXT.securityContext.secret } catch (e) { return 'own' } })()",
	} {
		if m, err = compile(c(), "a.js", a(fmt.Sprintf(decides, read))); err != nil {
			t.Fatal(err)
		}
		sql, _, err := generate(m, claims, count, sqlgen.Options{})
		if err == nil || !strings.Contains(err.Error(), "was not when the model was compiled") || strings.Contains(sql+err.Error(), "canary") {
			t.Errorf("%s: sql = %s, %v", read, sql, err)
		}
		if m, err = compile(&datamodel.Compilation{ByAppID: true}, "a.js", a(fmt.Sprintf(decides, read))); err != nil {
			t.Fatal(err)
		}
		if sql, _, err := generate(m, claims, count, sqlgen.Options{}); err == nil || !strings.Contains(err.Error(), "was not when the model was compiled") {
			t.Errorf("%s, in a model for all: sql = %s, %v", read, sql, err)
		}
	}
}

func TestWhatOfTheCompileContextIsRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, text, claims, want string }{
		{"a text that may be SQL", "a.js", a("COMPILE_CONTEXT.securityContext.tenant"), `{"tenant": "x; DROP TABLE t"}`, "a.js:1:50: COMPILE_CONTEXT.securityContext.tenant is a text of more than one word"},
		{"such a text in a list", "a.js", a("COMPILE_CONTEXT.securityContext.tenants[0]"), `{"tenants": ["x", "y z"]}`, "COMPILE_CONTEXT.securityContext.tenants is a text of more than one word"},
		{"such a text as a name", "a.js", a("Object.keys(COMPILE_CONTEXT.securityContext)[0]"), `{"x'y": 1}`, "is a text of more than one word"},
		{"such a text that is caught", "a.js", "let x = 'own'; try { x = COMPILE_CONTEXT.securityContext.tenant } catch (e) {}\n" + a("x"), `{"tenant": "x y"}`, "a.js:1:58: COMPILE_CONTEXT.securityContext.tenant is a text of more than one word"},
		{"such a text in a template", "a.yml", template("{{ COMPILE_CONTEXT.securityContext.tenant }}"), `{"tenant": "x\n  - name: y"}`, "a.yml:3:1: COMPILE_CONTEXT.securityContext.tenant is a text of more than one word"},
		{"such a text with a default", "a.yml", template("{{ COMPILE_CONTEXT.securityContext.tenant | default('own') }}"), `{"tenant": "x y"}`, "a.yml:3:21: COMPILE_CONTEXT.securityContext.tenant is a text of more than one word"},
		{"what is missing in a template", "a.yml", template("{{ COMPILE_CONTEXT.securityContext.tenant }}"), `{}`, "a.yml:3:1: COMPILE_CONTEXT.securityContext.tenant is undefined; give it a default"},
		{"the text of an object", "a.yml", template("{{ COMPILE_CONTEXT.securityContext }}"), `{"x": 1}`, "COMPILE_CONTEXT.securityContext is an object, whose values are read by name"},
		{"a loop over an object", "a.yml", template("{% for k in COMPILE_CONTEXT.securityContext %}{{ k }}{% endfor %}"), `{"x": 1}`, "COMPILE_CONTEXT.securityContext is an object, whose values are read by name"},
		{"JSON of an object", "a.yml", template("{{ COMPILE_CONTEXT | tojson }}"), `{"x": 1}`, "COMPILE_CONTEXT is an object, whose values are read by name"},
		{"a change", "a.js", "'use strict'; COMPILE_CONTEXT.securityContext.tenant = 'evil'; " + a("'x'"), `{}`, "COMPILE_CONTEXT.securityContext cannot be changed"},
		{"another one", "a.js", "'use strict'; delete COMPILE_CONTEXT.securityContext; " + a("'x'"), `{}`, "COMPILE_CONTEXT cannot be changed"},
		{"values without end", "a.js", "for (let i = 0; i < 2000; i++) COMPILE_CONTEXT.securityContext['x' + i]; " + a("'x'"), `{}`, "a model reads at most 1000 values of COMPILE_CONTEXT"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := compile(&datamodel.Compilation{ByAppID: true, Asker: asker(t, tt.claims)}, tt.file, tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Load = %v\nwant it to have %s", err, tt.want)
			}
		})
	}
}

// Without application ids, a model that reads COMPILE_CONTEXT is refused where it does; with them, it waits for somebody
// who asks, and what is wrong besides is told at once.
func TestACompileContextThatNobodyHas(t *testing.T) {
	const refused = "COMPILE_CONTEXT can't be used unless contextToAppId is defined"
	const waits = "the model reads COMPILE_CONTEXT, so it is compiled for each application id"
	for _, tt := range []struct{ name, file, text, place string }{
		{"in JavaScript", "a.js", "\n" + a("COMPILE_CONTEXT.securityContext.tenant"), "a.js:2:18: "},
		{"in a function", "a.js", a("() => `SELECT * FROM ${COMPILE_CONTEXT.securityContext.tenant}`"), "a.js:1:41: "},
		{"where it is caught", "a.js", "let x = 'own'; try { x = COMPILE_CONTEXT.securityContext.tenant } catch (e) {}; " + a("x"), "a.js:1:26: "},
		{"in a template", "a.yml", template("{{ COMPILE_CONTEXT.securityContext.tenant }}"), "a.yml:3:"},
		{"in a template, with a default", "a.yml", template("{{ COMPILE_CONTEXT.securityContext.tenant | default('own') }}"), "a.yml:3:"},
		{"in a template that asks whether it is there", "a.yml", template("{{ 'x' if COMPILE_CONTEXT.securityContext is defined else 'y' }}"), "a.yml:3:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := compile(&datamodel.Compilation{}, tt.file, tt.text); err == nil || !strings.Contains(err.Error(), tt.place) || !strings.Contains(err.Error(), refused) || strings.Count(err.Error(), refused) != 1 {
				t.Errorf("without application ids: %v", err)
			}
			_, err := compile(&datamodel.Compilation{ByAppID: true}, tt.file, tt.text, "view.yml", "views: [{name: v, cubes: [{join_path: a, includes: '*'}]}]")
			if _, ok := errors.AsType[*datamodel.PerAppID](err); !ok || !strings.Contains(err.Error(), tt.place) || !strings.Contains(err.Error(), waits) {
				t.Errorf("before somebody asks: %v", err)
			}
			_, err = compile(&datamodel.Compilation{ByAppID: true}, tt.file, tt.text, "b.yml", "cubes: 1", "c.js", "throw new Error('wrong')")
			if err == nil || !strings.Contains(err.Error(), "b.yml:1:8: ") || !strings.Contains(err.Error(), "c.js:1:") || strings.Contains(err.Error(), "COMPILE_CONTEXT") {
				t.Errorf("with other mistakes: %v", err)
			}
		})
	}
}

func TestVariablesOfAModel(t *testing.T) {
	v := datamodel.Variables{Granted: map[string]string{"SCHEMA": "s"}, Withheld: []string{"SECRET"}, Unset: []string{"LATER"}}
	for _, tt := range []struct{ name, file, text, table, notice, problem string }{
		{"granted", "a.js", a("`SELECT * FROM ${process.env.SCHEMA}`"), "s", "", ""},
		{"granted and not set", "a.js", a("`SELECT * FROM ${process.env.LATER}`"), "undefined", "", ""},
		{"not granted and not set", "a.js", "\n" + a("`SELECT * FROM ${process.env.OTHER || 'public'}`"), "public", "a.js:2:47: the variable OTHER is undefined: it is not set, and not named in models.env", ""},
		{"not granted and set", "a.js", "\n" + a("`SELECT * FROM ${process.env.SECRET}`"), "", "", "a.js:2:47: TypeError: the variable SECRET is set, and models may not read it: name it in models.env of behalf.yaml"},
		{"whether it is set", "a.js", a("`SELECT * FROM ${'SECRET' in process.env}`"), "", "", "the variable SECRET is set, and models may not read it"},
		{"whether it is its own", "a.js", a("`SELECT * FROM ${Object.hasOwn(process.env, 'SECRET')}`"), "", "", "the variable SECRET is set, and models may not read it"},
		{"whether one that is granted is its own", "a.js", a("`SELECT * FROM ${Object.hasOwn(process.env, 'SCHEMA')}_${process.env.hasOwnProperty('LATER')}`"), "true_false", "", ""},
		{"all names", "a.js", a("`SELECT * FROM ${Object.keys(process.env)}_${JSON.stringify(process.env).length}`"), "SCHEMA_14", "", ""},
		{"granted in a template", "a.yml", template("{{ env_var('SCHEMA', 'public') }}"), "t_s", "", ""},
		{"granted in a template, and not set", "a.yml", template("{{ env_var('LATER', 'public') }}"), "t_public", "", ""},
		{"not granted in a template", "a.yml", template("{{ env_var('OTHER', 'public') }}"), "t_public", "a.yml:3:21: the variable OTHER is undefined", ""},
		{"not granted in a template, without a default", "a.yml", template("{{ env_var('OTHER') }}"), "", "", "a.yml:3:1: the variable OTHER is not set, or not named in models.env of behalf.yaml; give a default"},
		{"not granted in a template, and set", "a.yml", template("{{ env_var('SECRET', 'public') }}"), "", "", "a.yml:3:1: the variable SECRET is set, and models may not read it"},
		{"such a one with another default", "a.yml", template("{{ env_var('SECRET') | default('public') }}"), "", "", "a.yml:3:21: the variable SECRET is set, and models may not read it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := compile(&datamodel.Compilation{Variables: v}, tt.file, tt.text)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("Load = %v, want %s", err, tt.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if sql, _, err := generate(m, nil, count, sqlgen.Options{}); err != nil || tableOf(t, sql) != tt.table {
				t.Errorf("sql = %s, %v, want %s", sql, err, tt.table)
			}
			if got := fmt.Sprint(m.Notices()); !strings.Contains(got, tt.notice) || tt.notice == "" && got != "[]" {
				t.Errorf("notices = %s, want %s", got, tt.notice)
			}
		})
	}
}
