package snowflake

import "testing"

func TestWhatCountsAsTheRole(t *testing.T) {
	const none = `{"roles":"","value":""}`
	w := New(Config{})
	role := w.Role([]string{"ANALYST", none, "SALES", "PUBLIC"})
	if role == "" {
		t.Error("a role without secondary ones is not known")
	}
	for _, tt := range []struct {
		name string
		row  []string
		same bool
	}{
		{"none, in the other spelling", []string{"ANALYST", `{"roles":"","value":"NONE"}`, "SALES", "PUBLIC"}, true},
		{"a role of another case", []string{"Analyst", none, "SALES", "PUBLIC"}, false},
		{"another database", []string{"ANALYST", none, "HR", "PUBLIC"}, false},
		{"another schema", []string{"ANALYST", none, "SALES", "PRIVATE"}, false},
		{"names that run into each other", []string{`ANALYST" "SALES`, none, "", "PUBLIC"}, false},
	} {
		if got := w.Role(tt.row); got == "" || (got == role) != tt.same {
			t.Errorf("%s: the role is %q, and the first one %q", tt.name, got, role)
		}
	}
	for name, row := range map[string][]string{
		"secondary roles":                      {"ANALYST", `{"roles":"ANALYST,AUDITOR","value":"ALL"}`, "SALES", "PUBLIC"},
		"all of them, of which there are none": {"ANALYST", `{"roles":"","value":"ALL"}`, "SALES", "PUBLIC"},
		"some of them":                         {"ANALYST", `{"roles":"AUDITOR","value":""}`, "SALES", "PUBLIC"},
		"something that is not understood":     {"ANALYST", `NONE`, "SALES", "PUBLIC"},
		"nothing told of them":                 {"ANALYST", "", "SALES", "PUBLIC"},
		"no role":                              {"", none, "SALES", "PUBLIC"},
	} {
		if got := w.Role(row); got != "" {
			t.Errorf("with %s the role is %q, want one that is not known", name, got)
		}
	}
}
