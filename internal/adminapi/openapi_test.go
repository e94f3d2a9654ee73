package adminapi

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write openapi.json anew")

// openapi.json is what clients are generated from: who changes the API changes it too, with go test -update.
func TestTheKeptOpenAPIDocumentIsTheOneThatIsServed(t *testing.T) {
	h, err := New(Config{PublicURL: "https://behalf.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.json", h.spec, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, h.spec) {
		t.Error("openapi.json is not what is served; run go test ./internal/adminapi -update, and read the difference")
	}
}
