package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// The limits of results are those of the configuration, and who meets one is told which and what to do.
func TestALargeResultIsAnsweredOrRefusedByName(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_API_MAX_LIMIT=200000", "BEHALF_ORCHESTRATOR_MAX_RESULT_BYTES=2MiB"}})
	w.connect(w.alice, "databricks")
	of := func(rows int) string { return fmt.Sprintf(`{"limit":%d,"dimensions":["ledger.customer"]}`, rows) }
	got := w.ask(w.alice, of(60_000)) // more than the default limit allows, in about 1 MiB
	got.ran(t, "user", "alice")
	if n := strings.Count(got.body, `"ledger.customer":"Customer `); n != 60_000 {
		t.Errorf("%d rows came, want 60,000", n)
	}
	w.ask(w.alice, of(200_000)).refused(t, http.StatusBadRequest, "result_too_large", "more than 2 MiB", "fewer columns or rows")
	if s := w.server.orchestrators.Stats(); s.Cache.Held != 0 {
		t.Errorf("%d bytes are held of answers that are over", s.Cache.Held)
	}
}
