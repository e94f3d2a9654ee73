// Package objectstoretest says what an object store must do, and brings one that speaks S3.
package objectstoretest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// S3 is a server that speaks the protocol, with one bucket.
type S3 struct {
	URL string // as objects.url names it

	t      testing.TB
	at     string
	serves http.Handler
	server *httptest.Server
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
	s := &S3{t: t, at: "127.0.0.1:0", serves: gofakes3.New(backend).Server()}
	s.Start()
	s.URL = "s3://rollups?region=us-east-1&endpoint=http://" + s.at
	t.Cleanup(s.Stop)
	return s
}

// Stop lets nobody reach the server.
func (s *S3) Stop() { s.server.Close() }

// Start begins again where Stop ended it, with all objects.
func (s *S3) Start() {
	s.t.Helper()
	l, err := net.Listen("tcp", s.at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.at = l.Addr().String()
	s.server = httptest.NewUnstartedServer(s.serves)
	_ = s.server.Listener.Close()
	s.server.Listener = l
	s.server.Start()
}
