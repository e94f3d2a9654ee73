package adminapi_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fronttest"
)

func TestAnAdminRotatesTheDataKeys(t *testing.T) {
	s := fronttest.Start(t, nil)
	s.AddApp(t, "warehouse") // with a client secret
	alice := s.Browser(t).SignIn("alice")
	var before adminapi.DataKeys
	if a := alice.Call(http.MethodGet, "/api/v1/keys", nil, &before); a.Status != 200 || before.Master == "" || before.Rotation != nil ||
		len(before.Keys) != 1 || before.Keys[0].Use != "seals" || before.Keys[0].Values != 1 || before.Keys[0].CreatedAt == nil || before.WaitingFor == nil {
		t.Fatalf("keys = %d %s, want one that seals one value", a.Status, a.Body)
	}
	var begun adminapi.KeyRotation
	if a := alice.Call(http.MethodPost, "/api/v1/keys/rotate", nil, &begun); a.Status != 202 || begun.State != "announced" || begun.NewKey == before.Keys[0].ID {
		t.Fatalf("rotate = %d %s, want it begun with another key", a.Status, a.Body)
	}
	refused(t, alice.Call(http.MethodPost, "/api/v1/keys/rotate", nil, nil), 409, "rotation_running")
	var after adminapi.DataKeys
	alice.Call(http.MethodGet, "/api/v1/keys", nil, &after)
	if len(after.Keys) != 2 || after.Keys[0].ID != before.Keys[0].ID || after.Keys[1].Use != "next" || after.Rotation == nil || after.Rotation.ID != begun.ID || after.Rotation.StartedBy == "" {
		t.Errorf("keys = %+v, rotation %+v, want the new key after the old one, which seals until the work is done", after.Keys, after.Rotation)
	}
	entries, err := s.Store.Audit().List(t.Context(), 10)
	if err != nil || !slices.ContainsFunc(entries, func(e audit.Entry) bool {
		return e.Action == audit.KeysRotationStarted && e.Object == begun.ID && e.Actor == begun.StartedBy && e.Request != ""
	}) {
		t.Errorf("audit = %+v, %v, want who began the rotation, and in which request", entries, err)
	}
}
