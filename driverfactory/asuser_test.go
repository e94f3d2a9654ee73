package driverfactory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/driverfactory/drivertest"
	"github.com/behalf-project/behalf/internal/fault"
)

// Whoever decides between the two identities is told the status of the person's own, and gets no other than there is.
func TestWhoeverDecidesStaysWithinThePolicy(t *testing.T) {
	for _, tt := range []struct {
		grant    grant
		app      string
		fallback driverfactory.Fallback
		asUser   bool
		want     string // identity and reason, or the kind of the refusal
		told     string
	}{
		{grants[0], "app", driverfactory.FallbackServiceAccount, true, "user grant", "active"},
		{grants[1], "app", driverfactory.FallbackServiceAccount, true, "user grant", "active"},
		{grants[0], "app", driverfactory.FallbackServiceAccount, false, "service_account hook", "active"},
		{grants[0], "app", driverfactory.FallbackDeny, false, "denied", "active"},
		{grants[0], "app", "", false, "denied", "active"},
		{grants[4], "app", driverfactory.FallbackServiceAccount, true, "reauthorization_required", "expired"},
		{grants[4], "app", driverfactory.FallbackServiceAccount, false, "service_account hook", "expired"},
		{grants[4], "app", driverfactory.FallbackDeny, false, "reauthorization_required", "expired"},
		{grants[11], "app", driverfactory.FallbackServiceAccount, false, "denied", "not asked"},
		{grants[13], "app", driverfactory.FallbackServiceAccount, false, "", "not asked"},
		{grants[3], "", "", false, "service_account hook", ""},
		{grants[3], "", driverfactory.FallbackDeny, false, "unavailable", ""},
		{grants[3], "", driverfactory.FallbackDeny, true, "unavailable", ""},
	} {
		told := "not asked"
		creds := drivertest.NewGrants()
		creds.Set(tt.grant.tok)
		creds.Refuse(tt.grant.err)
		f := driverfactory.New(driverfactory.Config{
			Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{}}, Credentials: creds,
			AsUser: func(_ context.Context, _ driverfactory.SecurityContext, _ driverfactory.Source, status string) (bool, error) {
				told = status
				return tt.asUser, nil
			},
		})
		src := driverfactory.Source{Domain: "dom", Name: "db", Type: "fake", OAuthApp: tt.app, Fallback: tt.fallback, ServiceAccount: &driverfactory.ServiceAccount{Name: "svc"}}
		c, err := f.Choose(t.Context(), alice, src, driverfactory.UserQuery)
		got := fmt.Sprint(c.RunAs.Identity, " ", c.RunAs.Reason)
		if err != nil {
			got = string(fault.KindOf(err))
		}
		if got != tt.want || told != tt.told {
			t.Errorf("grant %s, app %q, fallback %q, as user %v: %s, told %q; want %s, told %q (%v)", tt.grant.name, tt.app, tt.fallback, tt.asUser, got, told, tt.want, tt.told, err)
		}
	}
}

func TestAFailureOfWhoeverDecidesIsTheEndOfTheQuery(t *testing.T) {
	failure := errors.New("canary")
	f := driverfactory.New(driverfactory.Config{
		Warehouses: map[string]driverfactory.Warehouse{"fake": &warehouse{}},
		AsUser: func(context.Context, driverfactory.SecurityContext, driverfactory.Source, string) (bool, error) {
			return true, failure
		},
	})
	src := driverfactory.Source{Name: "db", Type: "fake", ServiceAccount: &driverfactory.ServiceAccount{Name: "svc"}}
	if c, err := f.Choose(t.Context(), driverfactory.SecurityContext{}, src, driverfactory.UserQuery); !errors.Is(err, failure) {
		t.Errorf("Choose = %+v, %v", c.RunAs, err)
	}
	if _, err := f.Choose(t.Context(), driverfactory.SecurityContext{}, src, driverfactory.LivenessCheck); err != nil {
		t.Errorf("a liveness check asks: %v", err)
	}
}
