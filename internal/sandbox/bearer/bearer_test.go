package bearer_test

import (
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
)

func TestResolve(t *testing.T) {
	var first, second bearer.Static
	first.Set("live", bearer.Holder{Name: "alice", Status: bearer.Active, Expires: time.Now().Add(time.Hour)})
	first.Set("past", bearer.Holder{Name: "alice", Status: bearer.Active, Expires: time.Now().Add(-time.Second)})
	second.Set("live", bearer.Holder{Name: "bob", Status: bearer.Active})
	second.Set("endless", bearer.Holder{Name: "svc", Status: bearer.Active, Service: true})
	for _, tt := range []struct {
		name, token, holder string
		status              bearer.Status
	}{
		{"the first that knows a token answers", "live", "alice", bearer.Active},
		{"a token past its end is expired", "past", "alice", bearer.Expired},
		{"the second is asked for what the first does not know", "endless", "svc", bearer.Active},
		{"what nobody knows is unknown", "made-up", "", bearer.Unknown},
		{"no token is unknown", "", "", bearer.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h := (bearer.Chain{&first, &second}).Resolve(tt.token); h.Name != tt.holder || h.Status != tt.status {
				t.Errorf("Resolve = %q, %v, want %q, %v", h.Name, h.Status, tt.holder, tt.status)
			}
		})
	}
}
