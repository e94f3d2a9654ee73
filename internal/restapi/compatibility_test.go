package restapi

import (
	"os"
	"strings"
	"testing"
)

// Each route, with its methods and its scope, is a row of docs/reference/compatibility.md, whose rows are asked in
// cmd/behalf.
func TestEveryRouteIsInTheCompatibilityTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range append(New(Config{}).routes(), route{methods: "GET POST", path: "/cubejs-api/graphql", scope: ScopeGraphQL}) {
		scope := r.scope
		if scope == "" {
			scope = "–"
		}
		if row := "| " + r.methods + " | `" + r.path + "` | " + scope + " |"; !strings.Contains(string(text), row) {
			t.Errorf("the page has no row %s", row)
		}
	}
}
