package hooks_test

import (
	"encoding/json"
	"testing"

	"github.com/behalf-project/behalf/internal/query"
)

// text returns a query as JSON.
func text(t *testing.T, q query.Query) string {
	t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
