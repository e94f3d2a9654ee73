package audit

import (
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 5, 1, 12, 0, 0, 123e6, time.UTC)

// example is a record with something in every field.
func example() Record {
	return Head{Writer: "w1", Position: 41, Hash: Hash{31: 1}}.Next(Entry{
		ID: "aud_1", At: noon, Actor: "usr_1", Action: QueryFellBack, Object: "default", Outcome: "ok", Request: "req-1",
		Detail: map[string]string{"reason": "not_connected", "account": "svc", "": "ünï\x00"},
	})
}

// Whoever checks an export with tools of their own depends on these bytes. They never change; another encoding gets
// another name.
func TestTheEncodingOfARecordIsTheGoldenOne(t *testing.T) {
	r := example()
	got := hex.Dump(r.encode(nil)) + "SHA-256 after " + r.Prev.String() + "\n              " + r.Hash.String() + "\n"
	const golden = "testdata/record.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the encoding changed (-want +got):\n%s", diff)
	}
}

func TestEveryFieldIsInTheHash(t *testing.T) {
	fields := reflect.TypeFor[Entry]()
	for i := range fields.NumField() {
		r := example()
		switch f := reflect.ValueOf(&r.Entry).Elem().Field(i); f.Interface().(type) {
		case string, Action:
			f.SetString(f.String() + "x")
		case time.Time:
			r.At = r.At.Add(time.Millisecond)
		case map[string]string:
			r.Detail = maps.Clone(r.Detail)
			r.Detail["reason"] = "other"
		default:
			t.Fatalf("this test does not know how to change %s", fields.Field(i).Name)
		}
		if r.Sum(r.Prev) == r.Hash {
			t.Errorf("%s may be changed without changing the hash", fields.Field(i).Name)
		}
	}
	for name, change := range map[string]func(*Record){
		"the writer":   func(r *Record) { r.Writer = "w2" },
		"the position": func(r *Record) { r.Position++ },
		"a text moved to the next field": func(r *Record) {
			r.Actor, r.Action = r.Actor[:4], Action(r.Actor[4:])+r.Action
		},
		"a detail moved to its name": func(r *Record) {
			r.Detail = map[string]string{"reasonnot_": "connected", "account": "svc", "": "ünï\x00"}
		},
		"a detail more": func(r *Record) { r.Detail["more"] = "" },
	} {
		r := example()
		r.Detail = maps.Clone(r.Detail)
		change(&r)
		if r.Sum(r.Prev) == r.Hash {
			t.Errorf("%s does not change the hash", name)
		}
	}
	if r := example(); r.Sum(Hash{}) == r.Hash {
		t.Error("what came before does not change the hash")
	}
}

func TestARecordIsHashedAsItIsStored(t *testing.T) {
	long := strings.Repeat("é", maxText)
	r := Head{Writer: "w"}.Next(Entry{
		At: noon.Add(456 * time.Microsecond).In(time.FixedZone("", 3600)), Actor: "a\x00b\xff", Action: "x", Object: long,
		Detail: map[string]string{"k\xff": long, "null": "\x00"},
	})
	switch {
	case !r.At.Equal(noon) || r.At.Location() != time.UTC:
		t.Errorf("At = %v, want whole milliseconds in UTC", r.At)
	case r.Actor != "a\uFFFDb\uFFFD":
		t.Errorf("Actor = %q, want what no database takes replaced", r.Actor)
	case len(r.Object) > maxText+len("…") || !strings.HasSuffix(r.Object, "é…"):
		t.Errorf("Object has %d bytes and ends in %q, want it cut between letters", len(r.Object), r.Object[len(r.Object)-6:])
	case r.Detail["null"] != "\x00" || len(r.Detail["k\uFFFD"]) > maxText+len("…"):
		t.Errorf("Detail = %.80q, want names and values made the same way, and nulls kept", r.Detail)
	}
	if again := (Head{Writer: "w"}).Next(r.Entry); again.Hash != r.Hash {
		t.Error("a normal entry changes when it is made normal again")
	}
}

func TestARecordSurvivesItsExport(t *testing.T) {
	want := example()
	want.Seq = 7
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Record
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Sum(got.Prev) != got.Hash {
		t.Error("the hash of the exported record differs")
	}
	twice := strings.Replace(string(text), `"actor":`, `"actor":"usr_2","ACTOR":`, 1)
	for _, text := range []string{twice, `{"seq":1,"more":"x"}`, `{"hash":"00"}`, `{"hash":"zz"}`, `[]`, `{"position":"1"}`, ``} {
		if err := ReadExport(strings.NewReader(text), func(Record) {}); err == nil {
			t.Errorf("%q is read as an export", text)
		}
	}
}

func TestASpreadsheetTakesNothingForAFormula(t *testing.T) {
	var out strings.Builder
	e, err := NewExporter(&out, CSV)
	if err != nil {
		t.Fatal(err)
	}
	r := example()
	r.Actor, r.Object, r.Outcome = "=cmd|' /C calc'!A0", "@x", "a,\"b\"\nc"
	if err := errors.Join(e.Write(r), e.Flush()); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(out.String())).ReadAll()
	if err != nil || len(rows) != 2 || len(rows[0]) != len(rows[1]) {
		t.Fatalf("the export reads as %q, %v, want a head and one row", rows, err)
	}
	if got := rows[1]; got[2] != "'=cmd|' /C calc'!A0" || got[4] != "'@x" || got[5] != r.Outcome || got[6] != `{"":"ünï\u0000","account":"svc","reason":"not_connected"}` {
		t.Errorf("the row is %q", got)
	}
	if _, err := NewExporter(&out, "xlsx"); !errors.Is(err, fault.Invalid) {
		t.Errorf("an unknown format = %v, want invalid", err)
	}
}

func FuzzReadExport(f *testing.F) {
	text, err := json.Marshal(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add(`{"writer":"w","position":1,"action":"audit.checkpoint","detail":{"a":"1:00"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		v := NewVerifier()
		if err := ReadExport(strings.NewReader(text), v.Add); err == nil && v.Report([]Head{{Writer: "other", Position: 1}}).Intact() {
			t.Error("an export without a chain that the store knows is intact")
		}
	})
}

func TestCheckpointsAreFoundInALog(t *testing.T) {
	h := Head{Writer: "w1", Position: 42, Hash: Hash{1, 2}}
	log := `{"level":"info","msg":"request","route":"audit checkpoint"}
not JSON: audit checkpoint
{"level":"info","ts":"2026-05-01T12:00:00.000Z","logger":"store","msg":"audit checkpoint","writer":"w1","position":42,"hash":"` + h.Hash.String() + `"}
`
	got, err := ReadLog(strings.NewReader(log))
	if diff := cmp.Diff([]Head{h}, got); err != nil || diff != "" {
		t.Errorf("ReadLog = %v (-want +got):\n%s", err, diff)
	}
}
