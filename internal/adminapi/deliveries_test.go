package adminapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fronttest"
)

func TestAnAdminSeesWhatWasToldAndTellsItAgain(t *testing.T) {
	s := fronttest.Start(t, nil)
	alice := s.Browser(t).SignIn("alice")
	now := time.Now().UTC().Truncate(time.Millisecond)
	if _, err := s.Store.Events().Append(t.Context(), event.Event{ID: "evt_1", Kind: event.AppBroken, App: "x"}); err != nil {
		t.Fatal(err)
	}
	err := s.Store.Events().Dispatch(t.Context(), "evt_1", []event.Delivery{
		{ID: "whd_1", Receiver: event.ByWebhook + "hooks.example.com#1f0c9a2b", At: now, NextAt: now}, {ID: "whd_2", Receiver: event.ByMail + "usr_1", At: now, NextAt: now},
	})
	if err != nil {
		t.Fatal(err)
	}
	var list adminapi.DeliveryList
	alice.Call(http.MethodGet, "/api/v1/deliveries", nil, &list)
	if len(list.Items) != 2 || list.Items[1].Receiver != "hooks.example.com#1f0c9a2b" || list.Items[1].Channel != "webhook" || list.Items[0].Channel != "mail" ||
		list.Items[1].State != "pending" || list.Items[1].Type != "oauth_app.broken" || list.Items[1].EventID != "evt_1" {
		t.Fatalf("deliveries %+v", list)
	}
	alice.Call(http.MethodGet, "/api/v1/deliveries?limit=1&before=whd_2", nil, &list)
	if len(list.Items) != 1 || list.Items[0].ID != "whd_1" {
		t.Errorf("the page after: %+v", list)
	}
	var again adminapi.Delivery
	if a := alice.Call(http.MethodPost, "/api/v1/deliveries/whd_1/replay", nil, &again); a.Status != 201 || again.EventID != "evt_1" || !strings.HasPrefix(again.ID, "whd_") || again.ID == "whd_1" {
		t.Errorf("replay = %d %s", a.Status, a.Body)
	}
	refused(t, alice.Call(http.MethodPost, "/api/v1/deliveries/whd_x/replay", nil, nil), 404, "not_found")
	if found := recorded(t, s, audit.Filter{Action: audit.DeliveryReplayed}, 1); len(found) != 1 || found[0].Object != again.ID {
		t.Errorf("audit %+v", found)
	}
}
