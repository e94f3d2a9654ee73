package connectedapps_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

func TestStatusOf(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	app := oauthapps.App{ID: "oap_1", Scopes: []string{"sql"}}
	base := connectedapps.Grant{
		ID: "con_1", AccessToken: secret.New("a"), RefreshToken: secret.New("r"), Requested: []string{"sql"},
		ConnectedAt: now.Add(-time.Hour), RefreshedAt: now.Add(-time.Hour), ExpiresAt: now.Add(time.Hour),
	}
	type grant = connectedapps.Grant
	for _, tt := range []struct {
		name   string
		change func(g *grant, app *oauthapps.App)
		want   connectedapps.Status
		usable bool
	}{
		{"a new grant is active", func(*grant, *oauthapps.App) {}, connectedapps.Active, true},
		{"no grant is not connected", func(g *grant, _ *oauthapps.App) { *g = grant{} }, connectedapps.NotConnected, false},
		{"a paused app is disabled", func(_ *grant, a *oauthapps.App) { a.Paused = true }, connectedapps.Disabled, false},
		{"a paused app is disabled for people without a grant", func(g *grant, a *oauthapps.App) { *g, a.Paused = grant{}, true }, connectedapps.Disabled, false},
		{"a broken app says nothing about its people", func(_ *grant, a *oauthapps.App) { a.BrokenAt = now }, connectedapps.Active, true},
		{"an access token that ended is active while it can be refreshed", func(g *grant, _ *oauthapps.App) { g.ExpiresAt = now }, connectedapps.Active, false},
		{"an access token without a known end lives", func(g *grant, _ *oauthapps.App) { g.ExpiresAt = time.Time{} }, connectedapps.Active, true},
		{"without a refresh token, the end of the access token is the end", func(g *grant, _ *oauthapps.App) {
			g.RefreshToken, g.ExpiresAt = secret.Text{}, now
		}, connectedapps.Expired, false},
		{"without a refresh token, the last fifth of its life is expiring", func(g *grant, _ *oauthapps.App) {
			g.RefreshToken, g.ExpiresAt = secret.Text{}, now.Add(15*time.Minute)
		}, connectedapps.Expiring, true},
		{"without a refresh token, before that it is active", func(g *grant, _ *oauthapps.App) {
			g.RefreshToken, g.ExpiresAt = secret.Text{}, now.Add(16*time.Minute)
		}, connectedapps.Active, true},
		{"seven days before the refresh token ends it is expiring", func(g *grant, _ *oauthapps.App) {
			g.ConnectedAt, g.RefreshExpiresAt = now.AddDate(0, 0, -83), now.AddDate(0, 0, 7)
		}, connectedapps.Expiring, true},
		{"eight days before it is active", func(g *grant, _ *oauthapps.App) {
			g.ConnectedAt, g.RefreshExpiresAt = now.AddDate(0, 0, -82), now.AddDate(0, 0, 8)
		}, connectedapps.Active, true},
		{"a refresh token that ended leaves the access token to serve", func(g *grant, _ *oauthapps.App) { g.RefreshExpiresAt = now }, connectedapps.Expiring, true},
		{"when both ended it is expired", func(g *grant, _ *oauthapps.App) { g.RefreshExpiresAt, g.ExpiresAt = now, now }, connectedapps.Expired, false},
		{"a refused refresh token is revoked, whatever the access token", func(g *grant, _ *oauthapps.App) {
			g.RefusedAt, g.FailureCode = now, "invalid_grant"
		}, connectedapps.Revoked, false},
		{"refused after its known end it is expired", func(g *grant, _ *oauthapps.App) {
			g.RefusedAt, g.RefreshExpiresAt, g.FailureCode = now, now.Add(-time.Minute), "invalid_grant"
		}, connectedapps.Expired, false},
		{"refused before its known end it stays revoked after that", func(g *grant, _ *oauthapps.App) {
			g.RefusedAt, g.RefreshExpiresAt, g.FailureCode = now.Add(-2*time.Hour), now.Add(-time.Hour), "invalid_grant"
		}, connectedapps.Revoked, false},
		{"a failing server leaves the held token to serve", func(g *grant, _ *oauthapps.App) {
			g.FailureCode, g.Failures = oauthapps.CodeProviderError, 3
		}, connectedapps.RefreshFailing, true},
		{"with the held token ended it still is refresh_failing", func(g *grant, _ *oauthapps.App) {
			g.FailureCode, g.ExpiresAt = oauthapps.CodeNetworkError, now
		}, connectedapps.RefreshFailing, false},
		{"an intent that runs changes nothing", func(g *grant, _ *oauthapps.App) {
			g.IntentAt, g.IntentUntil = now.Add(-time.Second), now.Add(34*time.Second)
		}, connectedapps.Active, true},
		{"an intent without outcome is unknown_outcome, and the held token serves", func(g *grant, _ *oauthapps.App) {
			g.IntentAt, g.IntentUntil = now.Add(-time.Minute), now.Add(-25*time.Second)
		}, connectedapps.UnknownOutcome, true},
		{"a lost answer is unknown_outcome at once", func(g *grant, _ *oauthapps.App) {
			g.IntentAt, g.IntentUntil, g.FailureCode = now, now.Add(35*time.Second), oauthapps.CodeUnknownOutcome
		}, connectedapps.UnknownOutcome, true},
		{"a lost answer stays unknown_outcome when the token ends", func(g *grant, _ *oauthapps.App) {
			g.FailureCode, g.ExpiresAt = oauthapps.CodeUnknownOutcome, now
		}, connectedapps.UnknownOutcome, false},
		{"a refusal after a lost answer stays unknown_outcome and is not usable", func(g *grant, _ *oauthapps.App) {
			g.FailureCode, g.RefusedAt = oauthapps.CodeUnknownOutcome, now
		}, connectedapps.UnknownOutcome, false},
		{"new scopes of the app need consent, and the old ones serve", func(_ *grant, a *oauthapps.App) { a.Scopes = []string{"sql", "more"} }, connectedapps.NeedsConsent, true},
		{"fewer granted scopes than asked for are no reason to ask again", func(g *grant, _ *oauthapps.App) { g.Scopes = nil }, connectedapps.Active, true},
		{"failing counts more than new scopes", func(g *grant, a *oauthapps.App) {
			g.FailureCode, a.Scopes = oauthapps.CodeProviderError, []string{"more"}
		}, connectedapps.RefreshFailing, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, a := base, app
			tt.change(&g, &a)
			if got := connectedapps.StatusOf(g, a, now); got != tt.want {
				t.Errorf("StatusOf = %s, want %s", got, tt.want)
			}
			if got := connectedapps.Usable(g, a, now); got != tt.usable {
				t.Errorf("Usable = %v, want %v", got, tt.usable)
			}
		})
	}
}

// Whatever the facts, there is exactly one status, it is one of the words, and it is the same each time. A grant
// without a live token is never usable, and one that ended does not come back by itself as time goes on.
func TestStatusIsTotalAndStable(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return now.Add(time.Duration(rapid.Int64Range(-100, 100).Draw(t, "hours")) * time.Hour)
	})
	text := rapid.SampledFrom([]secret.Text{{}, secret.New("x")})
	rapid.Check(t, func(t *rapid.T) {
		g := connectedapps.Grant{
			ID:          rapid.SampledFrom([]string{"", "con_1"}).Draw(t, "id"),
			AccessToken: text.Draw(t, "access"), RefreshToken: text.Draw(t, "refresh"),
			ConnectedAt: moment.Draw(t, "connected"), RefreshedAt: moment.Draw(t, "refreshed"), ExpiresAt: moment.Draw(t, "expires"),
			RefreshExpiresAt: moment.Draw(t, "end"), RefusedAt: moment.Draw(t, "refused"), NextTryAt: moment.Draw(t, "next"),
			FailureCode: rapid.SampledFrom([]string{"", "provider_error", "unknown_outcome", "invalid_grant"}).Draw(t, "code"),
			IntentAt:    moment.Draw(t, "intent"), IntentUntil: moment.Draw(t, "until"),
			Requested: rapid.SliceOf(rapid.SampledFrom([]string{"a", "b"})).Draw(t, "requested"),
		}
		app := oauthapps.App{
			Paused: rapid.Bool().Draw(t, "paused"), BrokenAt: moment.Draw(t, "broken"),
			Scopes: rapid.SliceOf(rapid.SampledFrom([]string{"a", "b"})).Draw(t, "scopes"),
		}
		status := connectedapps.StatusOf(g, app, now)
		if !slices.Contains(connectedapps.Statuses(), status) {
			t.Fatalf("StatusOf = %q, which is no status", status)
		}
		if again := connectedapps.StatusOf(g, app, now); again != status {
			t.Fatalf("StatusOf = %s, and then %s", status, again)
		}
		usable := connectedapps.Usable(g, app, now)
		if usable && (g.AccessToken.Empty() || !g.ExpiresAt.IsZero() && !now.Before(g.ExpiresAt) || !g.RefusedAt.IsZero() || app.Paused || g.ID == "") {
			t.Fatalf("a grant of status %s is usable: %+v", status, g)
		}
		if status == connectedapps.Revoked || status == connectedapps.Expired {
			later := connectedapps.StatusOf(g, app, now.Add(1000*time.Hour))
			if later != connectedapps.Revoked && later != connectedapps.Expired && later != connectedapps.UnknownOutcome {
				t.Fatalf("%s becomes %s as time goes on", status, later)
			}
		}
	})
}
