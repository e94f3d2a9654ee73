package oauthapps_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/oauthapps"
)

const testedURI = "https://data.example.com/behalf/oauth/callback/tested"

// tested starts a provider with a client and returns it with an app for it that passes.
func tested(t *testing.T) (*idp.Provider, oauthapps.App) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	p, err := idp.New(idp.Config{
		Issuer:  "http://" + srv.Listener.Addr().String(),
		Clients: []idp.Client{{ID: "behalf", Secret: oauthapps.NewSecret("canary-secret"), RedirectURIs: []string{testedURI}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = p
	srv.Start()
	t.Cleanup(srv.Close)
	return p, oauthapps.App{
		Name: "Tested", Slug: "tested", Preset: "oidc", Issuer: p.Issuer(), AuthMethod: oauthapps.ClientSecretBasic,
		ClientID: "behalf", ClientSecret: oauthapps.NewSecret("canary-secret"), Scopes: []string{"openid", "offline_access"},
	}
}

// states are the states of a report's stages, in their order, such as "dns pass".
func states(r oauthapps.Report) string {
	var s []string
	for _, stage := range r.Stages {
		s = append(s, stage.Name+" "+string(stage.State))
	}
	return strings.Join(s, ", ")
}

func stage(t *testing.T, r oauthapps.Report, name string) oauthapps.Stage {
	t.Helper()
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no stage %s in %+v", name, r)
	return oauthapps.Stage{}
}

func TestARegistrationThatIsRightPasses(t *testing.T) {
	p, app := tested(t)
	r := loopback(5*time.Second).Test(t.Context(), app, testedURI)
	if got, want := states(r), "dns pass, tls skipped, metadata pass, credentials pass, redirect_uri pass, scopes pass"; got != want || !r.OK() {
		t.Errorf("Test = %s, want %s\n%+v", got, want, r)
	}
	if n := p.CountCalls(idp.Token, ""); n != 1 {
		t.Errorf("%d calls to the token endpoint, want 1", n)
	}
}

func TestWhatIsWrongWithARegistrationIsFound(t *testing.T) {
	nowhere := func(a *oauthapps.App) {
		a.Issuer, a.AuthURL, a.TokenURL = "", "https://nothing.invalid/a", "https://nothing.invalid/t"
	}
	for _, tt := range []struct {
		name, stage, state, says string
		change                   func(p *idp.Provider, a *oauthapps.App)
	}{
		{"a host without an address", "dns", "fail", "nothing.invalid has no address", func(_ *idp.Provider, a *oauthapps.App) { nowhere(a) }},
		{"and then nothing else is tried", "credentials", "skipped", "because the stage dns failed", func(_ *idp.Provider, a *oauthapps.App) { nowhere(a) }},
		{"a metadata service of a cloud", "dns", "fail", "does not call", func(_ *idp.Provider, a *oauthapps.App) { a.TokenURL = "https://169.254.169.254/latest" }},
		{"an issuer without metadata", "metadata", "fail", "it answered 404 Not Found", func(_ *idp.Provider, a *oauthapps.App) { a.Issuer += "/other" }},
		{"an issuer whose metadata is another's", "metadata", "fail", "not exactly", func(_ *idp.Provider, a *oauthapps.App) { a.Issuer += "/" }},
		{"endpoints that are not the issuer's", "metadata", "warn", "token_url", func(p *idp.Provider, a *oauthapps.App) { a.TokenURL = p.Issuer() + "/introspect" }},
		{"a way to authenticate that is not offered", "metadata", "warn", "tls_client_auth", func(_ *idp.Provider, a *oauthapps.App) { a.AuthMethod = "tls_client_auth" }},
		{"a wrong secret", "credentials", "fail", "does not accept client id and client secret", func(_ *idp.Provider, a *oauthapps.App) {
			a.ClientSecret = oauthapps.NewSecret("canary-wrong")
		}},
		{"a wrong client id", "credentials", "fail", "does not accept", func(_ *idp.Provider, a *oauthapps.App) { a.ClientID = "nobody" }},
		{"a client without the grant", "credentials", "fail", "does not allow it the authorization code grant", func(p *idp.Provider, _ *oauthapps.App) {
			p.SetFault(idp.Token, idp.Fault{Error: "unauthorized_client"})
		}},
		{"a 401 with a code of its own", "credentials", "fail", "HTTP 401 with access_denied", func(p *idp.Provider, _ *oauthapps.App) {
			p.SetFault(idp.Token, idp.Fault{Error: "access_denied", Status: 401})
		}},
		{"an answer that says nothing", "credentials", "warn", "invalid_request", func(p *idp.Provider, _ *oauthapps.App) {
			p.SetFault(idp.Token, idp.Fault{Error: "invalid_request"})
		}},
		{"a code that is HTML is not repeated", "credentials", "warn", "provider_error", func(p *idp.Provider, _ *oauthapps.App) {
			p.SetFault(idp.Token, idp.Fault{Error: "<script>canary</script>"})
		}},
		{"a server that has enough", "credentials", "warn", "no more requests", func(p *idp.Provider, _ *oauthapps.App) { p.SetFault(idp.Token, idp.Fault{Status: 429}) }},
		{"a server in trouble", "credentials", "warn", "503", func(p *idp.Provider, _ *oauthapps.App) { p.SetFault(idp.Token, idp.Fault{Status: 503}) }},
		{"a token endpoint that is none", "credentials", "fail", "no token endpoint", func(p *idp.Provider, a *oauthapps.App) { a.TokenURL = p.Issuer() + "/nothing" }},
		{"an authorization endpoint that is none", "redirect_uri", "fail", "no authorization endpoint", func(p *idp.Provider, a *oauthapps.App) { a.AuthURL = p.Issuer() + "/nothing" }},
		{"a redirect URI that is not registered", "redirect_uri", "fail", "refuses the request", func(p *idp.Provider, _ *oauthapps.App) {
			p.AddClient(idp.Client{ID: "behalf", Secret: oauthapps.NewSecret("canary-secret")})
		}},
		{"and says so in the address of a page", "redirect_uri", "fail", "not registered for this client", func(p *idp.Provider, a *oauthapps.App) {
			p.AddClient(idp.Client{ID: "behalf", Secret: oauthapps.NewSecret("canary-secret")})
			p.SetQuirks(idp.Quirks{MismatchMark: "error"})
		}},
		{"a scope that the server refuses", "redirect_uri", "warn", "refuses the scopes", func(p *idp.Provider, _ *oauthapps.App) { p.SetQuirks(idp.Quirks{RefreshByConsent: true}) }},
		{"a scope that the server does not list", "scopes", "warn", "slq", func(_ *idp.Provider, a *oauthapps.App) { a.Scopes = append(a.Scopes, "slq") }},
		{"no scope to stay connected", "scopes", "warn", "offline_access", func(_ *idp.Provider, a *oauthapps.App) { a.Scopes = []string{"openid"} }},
		{"a parameter without which tokens are of no use", "scopes", "fail", "audience", func(_ *idp.Provider, a *oauthapps.App) { a.Preset = "auth0" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, app := tested(t)
			tt.change(p, &app)
			r := loopback(5*time.Second).Test(t.Context(), app, testedURI)
			s := stage(t, r, tt.stage)
			if string(s.State) != tt.state || !strings.Contains(s.Detail, tt.says) {
				t.Errorf("%s = %s %q, want %s and %q in it", tt.stage, s.State, s.Detail, tt.state, tt.says)
			}
			if (s.State == oauthapps.StageFailed || s.State == oauthapps.StageWarned) && s.Fix == "" {
				t.Errorf("%s says nothing to do", tt.stage)
			}
			if all := fmt.Sprint(r); strings.Contains(all, "canary") || strings.ContainsAny(all, "<>") {
				t.Errorf("the report repeats what it must not: %s", all)
			}
		})
	}
}

func TestThisMachineIsNotTestedUnlessThatIsAllowed(t *testing.T) {
	p, app := tested(t)
	r := oauthapps.NewClient(oauthapps.ClientConfig{}).Test(t.Context(), app, testedURI)
	if got, want := states(r), "dns fail, tls skipped, metadata skipped, credentials skipped, redirect_uri skipped, scopes skipped"; got != want {
		t.Errorf("Test = %s, want %s", got, want)
	}
	if n := len(p.Calls()); n != 0 {
		t.Errorf("%d calls reached the provider", n)
	}
}

func TestCertificates(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(srv.Certificate())
	ends := srv.Certificate().NotAfter
	app := oauthapps.App{Preset: "oauth2", AuthURL: srv.URL + "/a", TokenURL: srv.URL + "/t", ClientID: "c", AuthMethod: oauthapps.NoAuth}
	byName := app
	byName.AuthURL = strings.Replace(srv.URL, "127.0.0.1", "localhost", 1) + "/a"
	for _, tt := range []struct {
		name, want, says string
		app              oauthapps.App
		roots            *x509.CertPool
		now, verifiedAt  time.Time
	}{
		{"a trusted one", "pass", "2084", app, trusted, time.Now(), time.Now()},
		{"one of a strange authority", "fail", "Acme Co", app, x509.NewCertPool(), time.Now(), time.Now()},
		{"one that ends soon", "warn", "in 3 days", app, trusted, ends.Add(-80 * time.Hour), time.Now()},
		{"one that has ended", "fail", "not valid today", app, trusted, time.Now(), ends.Add(time.Hour)},
		{"one of another name", "fail", "for another name", byName, trusted, time.Now(), time.Now()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := oauthapps.NewClient(oauthapps.ClientConfig{
				AllowLoopback: true, Now: func() time.Time { return tt.now },
				TLS: &tls.Config{RootCAs: tt.roots, Time: func() time.Time { return tt.verifiedAt }},
			})
			r := client.Test(t.Context(), tt.app, testedURI)
			if s := stage(t, r, "tls"); string(s.State) != tt.want || !strings.Contains(s.Detail, tt.says) {
				t.Errorf("tls = %s %q, want %s and %q in it", s.State, s.Detail, tt.want, tt.says)
			}
			if s := stage(t, r, "credentials"); (s.State == oauthapps.StageSkipped) != (tt.want == "fail") {
				t.Errorf("credentials = %+v", s)
			}
		})
	}
}

// deadline is a context whose deadline passes when the channel is closed, however long that takes.
type deadline struct {
	context.Context
	passed chan struct{}
}

func (d deadline) Done() <-chan struct{} { return d.passed }

func (d deadline) Err() error {
	select {
	case <-d.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestATestEndsWithItsContext(t *testing.T) {
	p, app := tested(t)
	ctx := deadline{Context: t.Context(), passed: make(chan struct{})}
	p.SetFault(idp.Token, idp.Fault{Seen: sync.OnceFunc(func() { close(ctx.passed) }), Delay: time.Minute})
	r := loopback(0).Test(ctx, app, testedURI)
	if got, want := states(r), "dns pass, tls skipped, metadata pass, credentials warn, redirect_uri skipped, scopes skipped"; got != want {
		t.Errorf("Test = %s, want %s", got, want)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if s := stage(t, loopback(0).Test(stopped, app, testedURI), "dns"); s.State != oauthapps.StageSkipped || s.Detail != "The test was stopped." {
		t.Errorf("after it was stopped: %+v", s)
	}
}

func TestATestTellsWhetherAnAppIsBroken(t *testing.T) {
	p, app := tested(t)
	client := loopback(5 * time.Second)
	var entries []audit.Entry
	r := newRegistry(t, func(cfg *oauthapps.Config) {
		cfg.Discover, cfg.Try = client.Discover, client.Test
		cfg.Record = func(_ context.Context, e audit.Entry) error { entries = append(entries, e); return nil }
	})
	client.Reports(r.Registry)
	app.Domain = r.domain
	a, err := r.Create(t.Context(), app, "usr_admin")
	if err != nil {
		t.Fatal(err)
	}
	broken := func() string {
		t.Helper()
		a, err := r.Get(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		return a.BrokenCode
	}
	replace := func(secret string) {
		p.AddClient(idp.Client{ID: "behalf", Secret: oauthapps.NewSecret(secret), RedirectURIs: []string{testedURI}})
	}
	test := func(a oauthapps.App) oauthapps.Report {
		t.Helper()
		report, err := r.Test(t.Context(), a, "usr_admin")
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	replace("another")
	if report := test(a); report.OK() || broken() != "invalid_client" {
		t.Errorf("with a secret that was replaced: %s, broken by %q", states(report), broken())
	}
	a, err = r.Get(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	replace("canary-secret")
	if report := test(a); !report.OK() || broken() != "" {
		t.Errorf("with the right one again: %s, broken by %q", states(report), broken())
	}
	draft := app
	draft.ClientSecret = oauthapps.NewSecret("canary-wrong")
	if report := test(draft); report.OK() || broken() != "" {
		t.Errorf("a draft of the same app marks it: %s, broken by %q", states(report), broken())
	}
	var got []string
	for _, e := range entries {
		got = append(got, string(e.Action)+" "+e.Actor+" "+e.Object+" "+e.Outcome)
	}
	want := []string{"oauth_app.tested usr_admin " + a.ID + " credentials_failed", "oauth_app.tested usr_admin " + a.ID + " ok", "oauth_app.tested usr_admin  credentials_failed"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit %q, want %q", got, want)
	}
	if _, err := r.Test(t.Context(), oauthapps.App{Name: "x", Preset: "oidc"}, "usr_admin"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a draft that is not valid: %v, want fault.Invalid", err)
	}
}

func TestATestThatCannotBeRecordedIsNotTold(t *testing.T) {
	_, app := tested(t)
	client := loopback(5 * time.Second)
	r := newRegistry(t, func(cfg *oauthapps.Config) {
		cfg.Try = client.Test
		cfg.Record = func(context.Context, audit.Entry) error { return errors.New("the disk is full") }
	})
	app.Domain = r.domain
	if report, err := r.Test(t.Context(), app, "usr_admin"); fault.KindOf(err) != fault.Unavailable || len(report.Stages) != 0 {
		t.Errorf("Test = %+v, %v, want nothing but fault.Unavailable", report, err)
	}
}

func TestOnlyAFewTestsRunAtOnce(t *testing.T) {
	_, app := tested(t)
	began, release := make(chan struct{}, 8), make(chan struct{})
	r := newRegistry(t, func(cfg *oauthapps.Config) {
		cfg.Try = func(context.Context, oauthapps.App, string) oauthapps.Report {
			began <- struct{}{}
			<-release
			return oauthapps.Report{}
		}
		cfg.Record = func(context.Context, audit.Entry) error { return nil }
	})
	app.Domain = r.domain
	done := make(chan error, 4)
	for range 4 {
		go func() {
			_, err := r.Test(context.Background(), app, "usr_admin")
			done <- err
		}()
		<-began
	}
	if _, err := r.Test(t.Context(), app, "usr_admin"); fault.KindOf(err) != fault.TooMany {
		t.Errorf("the fifth Test = %v, want fault.TooMany", err)
	}
	close(release)
	for range 4 {
		if err := <-done; err != nil {
			t.Errorf("Test = %v", err)
		}
	}
	if _, err := r.Test(t.Context(), app, "usr_admin"); err != nil {
		t.Errorf("Test afterwards = %v", err)
	}
}
