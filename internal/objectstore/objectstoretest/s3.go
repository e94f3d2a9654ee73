// Package objectstoretest says what an object store must do, and brings one that speaks S3.
package objectstoretest

import (
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// S3 is a server that speaks the protocol, with one bucket.
type S3 struct {
	Server *httptest.Server
	URL    string // as objects.url names it
}

// NewS3 starts one that runs until the test ends, and puts credentials for it into the environment, where the SDK looks.
func NewS3(t testing.TB) *S3 {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
	backend := s3mem.New()
	if err := backend.CreateBucket("rollups"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	return &S3{server, "s3://rollups?region=us-east-1&endpoint=" + server.URL}
}
