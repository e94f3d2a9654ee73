package main

import (
	"testing"

	"github.com/behalf-project/behalf/internal/sandbox/cubeclient"
)

// The client that teams have in their applications works here unchanged. It asks as a person, at the warehouse.
func TestThePublishedClientOfCube(t *testing.T) {
	w := newWorld(t, worldConfig{environ: []string{"BEHALF_API_CONTINUE_WAIT=1s"}})
	w.write("model/sales.yml", cubeclient.Model)
	w.restart()
	w.connect(w.alice, "databricks")
	token, err := w.alice.token(t.Context())
	w.must(err)
	cubeclient.Run(t, w.base, token)
}
