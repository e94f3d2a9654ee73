package oauthapps

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/outbound"
)

// Report is what a Test of a registration found, stage by stage. Its sentences are ours: of what a server wrote only
// codes, names of scopes and of certificates are repeated, cut and without control characters.
type Report struct {
	Stages []Stage
}

// OK reports whether no stage failed.
func (r Report) OK() bool {
	return !slices.ContainsFunc(r.Stages, func(s Stage) bool { return s.State == StageFailed })
}

// Stage is one stage of a Test.
type Stage struct {
	Name   string // one of the names below
	State  StageState
	Detail string        // what was found, in one sentence or two
	Fix    string        // what to do about it; empty when there is nothing to do
	Took   time.Duration // 0 when it was skipped
}

// The stages, in their order.
const (
	StageDNS         = "dns"          // the hosts have addresses, and ones that are called
	StageTLS         = "tls"          // their certificates are trusted, and not about to end
	StageMetadata    = "metadata"     // the issuer's metadata is its own, and agrees with the app
	StageCredentials = "credentials"  // the token endpoint accepts client id and secret
	StageRedirectURI = "redirect_uri" // the authorization endpoint accepts our redirect URI, as far as that can be seen
	StageScopes      = "scopes"       // the server offers the scopes that are asked for
)

// StageState is how a stage ended.
type StageState string

// The states.
const (
	StagePassed  StageState = "pass"
	StageWarned  StageState = "warn" // it may work; read the sentence
	StageFailed  StageState = "fail"
	StageSkipped StageState = "skipped" // it cannot be seen, or needs a stage that failed
)

const (
	testTimeout = 30 * time.Second // of all stages together
	certSoon    = 14 * 24 * time.Hour
	maxPage     = 64 << 10 // of the authorization endpoint's page that is looked at
)

// Test tries the registration app at its authorization server, stage by stage and in at most 30 s: an end of ctx ends
// it. Nobody consents and nothing is stored, but a saved app whose credentials turn out right is broken no more, and
// one whose credentials turn out wrong is marked as broken, as with any other call. redirectURI is what the server must
// have registered. Endpoints that are empty are taken from the issuer's metadata.
//
// The proof of a redirect URI is an authorization. What a server tells without one differs (Quirks.MismatchMark).
func (c *Client) Test(ctx context.Context, app App, redirectURI string) Report {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	t := trial{client: c, app: app, redirectURI: redirectURI}
	for _, stage := range []struct {
		name  string
		needs []string // stages without whose success it makes no sense
		run   func(context.Context) Stage
	}{
		{StageDNS, nil, t.dns},
		{StageTLS, []string{StageDNS}, t.tls},
		{StageMetadata, []string{StageDNS, StageTLS}, t.metadata},
		{StageCredentials, []string{StageDNS, StageTLS}, t.credentials},
		{StageRedirectURI, []string{StageDNS, StageTLS}, t.redirect},
		{StageScopes, nil, t.scopes},
	} {
		s := t.skip(ctx, stage.needs)
		if s.State == "" {
			began := c.cfg.Now()
			s = stage.run(ctx)
			s.Took = c.cfg.Now().Sub(began)
		}
		s.Name = stage.name
		t.report.Stages = append(t.report.Stages, s)
	}
	return t.report
}

// trial is one Test under way.
type trial struct {
	client      *Client
	app         App // with what the metadata said, once that is known
	redirectURI string
	metadataOf  *Metadata // nil until it was read
	report      Report
}

func passed(format string, args ...any) Stage {
	return Stage{State: StagePassed, Detail: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Stage {
	return Stage{State: StageSkipped, Detail: fmt.Sprintf(format, args...)}
}

func warned(fix, format string, args ...any) Stage {
	return Stage{State: StageWarned, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

func failed(fix, format string, args ...any) Stage {
	return Stage{State: StageFailed, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

// skip returns the skipped stage if one that it needs has failed, or the zero Stage.
func (t *trial) skip(ctx context.Context, needs []string) Stage {
	if err := ctx.Err(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return skipped("The earlier stages took all the time that a test may take.")
		}
		return skipped("The test was stopped.")
	}
	for _, s := range t.report.Stages {
		if s.State == StageFailed && slices.Contains(needs, s.Name) {
			return skipped("Not tried, because the stage %s failed.", s.Name)
		}
	}
	return Stage{}
}

// hosts are the hosts that are known from the start, with their ports, each once. https says which have certificates.
func (t *trial) hosts(https bool) (hosts []string) {
	for _, raw := range []string{t.app.Issuer, t.app.AuthURL, t.app.TokenURL} {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" || https && u.Scheme != "https" {
			continue
		}
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		if h := net.JoinHostPort(u.Hostname(), port); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// dns looks up the hosts, and whether their addresses may be called.
func (t *trial) dns(ctx context.Context) Stage {
	var found []string
	for _, hostport := range t.hosts(false) {
		host, port, _ := net.SplitHostPort(hostport)
		lookup, cancel := context.WithTimeout(ctx, 5*time.Second)
		addresses, err := net.DefaultResolver.LookupNetIP(lookup, "ip", host)
		cancel()
		if err != nil || len(addresses) == 0 {
			return failed("Check the spelling of the host, and whether this server's DNS knows it.", "The name %s has no address here.", clip(host))
		}
		var callable *netip.Addr
		for _, a := range addresses {
			a = a.Unmap()
			if outbound.CheckAddress("tcp", net.JoinHostPort(a.String(), port), t.client.cfg.AllowLoopback) == nil {
				callable = &a
				break
			}
		}
		if callable == nil {
			return failed("Use the public name of the authorization server.",
				"%s is an address that Behalf does not call: this machine itself, or a metadata service of a cloud.", clip(host))
		}
		found = append(found, clip(host)+" is "+callable.String())
	}
	if len(found) == 0 {
		return failed("Give the host, the issuer or the URLs.", "There is no host to look up.")
	}
	return passed("%s.", strings.Join(found, ", "))
}

// tls looks at the certificates of the hosts.
func (t *trial) tls(ctx context.Context) Stage {
	hosts := t.hosts(true)
	if len(hosts) == 0 {
		return skipped("Plain http on this machine has no certificate.")
	}
	first := time.Time{}
	for _, hostport := range hosts {
		cert, err := t.client.certificate(ctx, hostport)
		host, _, _ := net.SplitHostPort(hostport)
		if err != nil {
			return certificateFailure(clip(host), err)
		}
		if first.IsZero() || cert.NotAfter.Before(first) {
			first = cert.NotAfter
		}
	}
	day, left := first.UTC().Format("2006-01-02"), first.Sub(t.client.cfg.Now())
	if left < certSoon {
		return warned("Its administrator must renew it; if that happens by itself, there is nothing to do.",
			"A certificate ends on %s, in %d days.", day, int(left.Hours()/24))
	}
	return passed("The certificates are trusted; the first one ends on %s.", day)
}

// certificate returns the certificate of a host, which has been verified.
func (c *Client) certificate(ctx context.Context, hostport string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&tls.Dialer{NetDialer: outbound.NewDialer(c.cfg.AllowLoopback), Config: c.cfg.TLS}).DialContext(ctx, "tcp", hostport)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	certs := conn.(*tls.Conn).ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	return certs[0], nil
}

func certificateFailure(host string, err error) Stage {
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		by := ""
		if unknown.Cert != nil {
			names := append([]string{unknown.Cert.Issuer.CommonName}, unknown.Cert.Issuer.Organization...)
			by = " It is signed by " + someOf(words(names)) + "."
		}
		return failed("If it is your own authority, add its certificate to the trusted ones of this machine (SSL_CERT_FILE); otherwise the server must send its whole chain.",
			"The certificate of %s is of an authority that this machine does not trust.%s", host, by)
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return failed("Its administrator must renew it. If it is valid, the clock of this machine is wrong.",
			"The certificate of %s is not valid today: it is from %s to %s.", host,
			invalid.Cert.NotBefore.UTC().Format("2006-01-02"), invalid.Cert.NotAfter.UTC().Format("2006-01-02"))
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return failed("Enter the name that the certificate is for.", "The certificate of %s is for another name.", host)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failed("Its administrator must replace it.", "The certificate of %s does not verify.", host)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return failed("Check the port.", "%s does not speak TLS there.", host)
	}
	if errors.Is(err, outbound.ErrAddress) {
		return failed("Use the public name of the authorization server.", "%s is an address that Behalf does not call.", host)
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return failed("Check the firewall between this server and it, and the port.", "%s did not answer in time.", host)
	}
	return failed("Check the firewall between this server and it, and the port.", "No connection to %s could be made.", host)
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// metadata reads what the issuer publishes, and compares it with the app.
func (t *trial) metadata(ctx context.Context) Stage {
	if t.app.Issuer == "" {
		return skipped("No issuer is given: the endpoints are what was entered.")
	}
	m, err := t.client.Discover(ctx, t.app.Issuer)
	if err != nil {
		if t.app.AuthURL != "" && t.app.TokenURL != "" {
			return warned("Check the issuer. Without its metadata the keys for ID tokens must be given (jwks_url).", "%s", detail(err))
		}
		return failed("Enter the issuer exactly as the provider writes it.", "%s", detail(err))
	}
	t.metadataOf = &m
	var differ []string
	for _, e := range []struct{ name, own, published string }{
		{"auth_url", t.app.AuthURL, m.AuthURL}, {"token_url", t.app.TokenURL, m.TokenURL},
		{"revocation_url", t.app.RevocationURL, m.RevocationURL}, {"userinfo_url", t.app.UserinfoURL, m.UserinfoURL},
		{"jwks_url", t.app.JWKSURL, m.JWKSURL},
	} {
		if e.own != "" && e.published != "" && e.own != e.published {
			differ = append(differ, e.name)
		}
	}
	t.app = fill(t.app, m)
	switch {
	case t.app.AuthURL == "" || t.app.TokenURL == "":
		return failed("Enter the endpoints yourself.", "The metadata is the issuer's, but names no authorization or no token endpoint.")
	case len(m.AuthMethods) > 0 && !slices.Contains(m.AuthMethods, string(t.app.AuthMethod)):
		return warned("Choose one that it lists, unless the credentials pass below.",
			"The server does not list %s among its ways to authenticate a client: %s.", t.app.AuthMethod, someOf(m.AuthMethods))
	case len(differ) > 0:
		return warned("Clear them, unless you know why.", "The metadata is the issuer's, but names other URLs for %s.", strings.Join(differ, ", "))
	}
	return passed("The metadata is the issuer's and agrees with the app.")
}

// credentials proves our client authentication without a grant.
func (t *trial) credentials(ctx context.Context) Stage {
	if t.app.TokenURL == "" {
		return skipped("The token endpoint is not known.")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {"behalf-test-" + id.Random(16)},
		"code_verifier": {oauth2.GenerateVerifier()}, "redirect_uri": {t.redirectURI},
	}
	q := t.app.Quirks()
	own := q.Probe == ProbeClientCredentials && t.app.AuthMethod != NoAuth
	if own {
		form = url.Values{"grant_type": {"client_credentials"}, "scope": {q.ProbeScope}}
	}
	_, fail := t.client.grant(ctx, request{app: t.app, endpoint: t.app.TokenURL, form: form})
	s, known := judgeProbe(t.app, own, fail)
	if t.app.ID != "" && known {
		code := ""
		if s.State == StageFailed {
			code = CodeInvalidClient
		}
		t.client.report(ctx, t.app, code)
	}
	return s
}

// judgeProbe says what the answer to a probe means. known is whether it is about the credentials.
func judgeProbe(app App, own bool, fail *Failure) (s Stage, known bool) {
	const again = "Try again later."
	what := "client id and client secret"
	if app.AuthMethod == NoAuth {
		what = "client id"
	}
	wrong := failed("Copy both again from the provider, and check the way of authenticating ("+string(app.AuthMethod)+").",
		"The server does not accept %s.", what)
	switch {
	case fail == nil && own:
		return passed("The server accepts %s.", what), true
	case fail == nil:
		return failed("Check the token endpoint: it must not give tokens for a code that it never issued.", "The server gave tokens for a made-up code."), false
	case fail.Class == GrantRefused && app.AuthMethod == NoAuth:
		return passed("The server refused only the made-up code. A public client has no secret that could be wrong."), false
	case fail.Class == GrantRefused && !own:
		return passed("The server accepts %s: it refused only the made-up code.", what), true
	case fail.Code == "unauthorized_client" && own:
		return passed("The server knows %s, and gives this client no tokens of its own.", what), true
	case fail.Code == "unauthorized_client":
		return failed("Allow this client the authorization code grant at the provider.", "The server knows the client, and does not allow it the authorization code grant."), false
	case fail.Code == CodeInvalidClient:
		return wrong, true
	case fail.Status == http.StatusUnauthorized: // RFC 6749 §5.2 has that status for failed client authentication only
		wrong.Detail += " It answered HTTP 401 with " + fail.Code + "."
		return wrong, false
	case fail.Code == CodeRateLimited:
		return warned(again, "The server allows no more requests at the moment."), false
	case fail.Class == NotSent:
		return failed("Check the token endpoint's URL, and the firewall between this server and it.", "The token endpoint was not reached: %s.", reason(fail)), false
	case fail.Class == OutcomeUnknown:
		return warned(again, "The token endpoint did not answer in time."), false
	case fail.Status == http.StatusNotFound || fail.Status == http.StatusMethodNotAllowed:
		return failed("Check the token endpoint's URL.", "There is no token endpoint at this URL: it answered %s.", statusText(fail.Status)), false
	case fail.Status >= 500:
		return warned(again, "The token endpoint answered %s.", statusText(fail.Status)), false
	}
	return warned("Authorize it once yourself, which is the proof.", "The server answered %s to a made-up code, which says nothing about the credentials.", fail.Code), false
}

// redirect asks the authorization endpoint as a browser would, without signing in, and follows nothing.
func (t *trial) redirect(ctx context.Context) Stage {
	if t.app.AuthURL == "" {
		return skipped("The authorization endpoint is not known.")
	}
	exactly := "Register exactly this redirect URI at the provider: " + t.redirectURI
	unseen := skipped("Whether it is registered cannot be seen from here. It must be exactly: %s", t.redirectURI)
	params := t.app.AuthorizationParams()
	if slices.Contains(t.app.Scopes, "openid") {
		// Nobody is signed in, so a server that knows the redirect URI answers to it at once (OIDC Core §3.1.2.6).
		params["prompt"], params["nonce"] = "none", id.Random(16)
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(oauth2.GenerateVerifier())}
	for name, value := range params {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	cfg := oauth2.Config{ClientID: t.app.ClientID, Endpoint: oauth2.Endpoint{AuthURL: t.app.AuthURL}, RedirectURL: t.redirectURI, Scopes: t.app.Scopes}
	status, location, page, err := t.client.visit(ctx, cfg.AuthCodeURL(id.Random(32), options...))
	if err != nil {
		return failed("Check the authorization endpoint's URL, and the firewall between this server and it.", "The authorization endpoint was not reached: %s.", reason(err))
	}
	if to, ok := answerTo(location, t.redirectURI); ok {
		switch code := errorCode(to.Get("error")); code {
		case "", "login_required", "interaction_required", "consent_required", "account_selection_required":
			return passed("The server sends its answers to it.")
		case "invalid_scope":
			return warned("Allow the scopes to this client at the provider, or ask for fewer.", "The redirect URI is registered, but the server refuses the scopes (invalid_scope).")
		default:
			return warned("Authorize it once yourself to see whether people meet this too.", "The redirect URI is registered, but the server refuses the request with %s.", code)
		}
	}
	for _, mark := range []string{t.app.Quirks().MismatchMark, "redirect_uri_mismatch"} {
		if mark != "" && (strings.Contains(location, mark) || strings.Contains(page, mark)) {
			return failed(exactly, "The server says that the redirect URI is not registered for this client.")
		}
	}
	switch {
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return failed("Check the authorization endpoint's URL.", "There is no authorization endpoint at this URL: it answered %s.", statusText(status))
	case status >= 500:
		return warned("Try again later.", "The authorization endpoint answered %s.", statusText(status))
	case status >= 400:
		return failed(exactly, "The server refuses the request with a page of its own (HTTP %d), which mostly means that the redirect URI or the client id is not registered.", status)
	}
	return unseen
}

// answerTo returns the parameters of an authorization response if location is one to redirectURI.
func answerTo(location, redirectURI string) (url.Values, bool) {
	to, err1 := url.Parse(location)
	ours, err2 := url.Parse(redirectURI)
	if location == "" || err1 != nil || err2 != nil || to.Scheme != ours.Scheme || to.Host != ours.Host || to.Path != ours.Path {
		return nil, false
	}
	return to.Query(), true
}

// visit opens a page without cookies and follows no redirect. Its errors are Failures.
func (c *Client) visit(ctx context.Context, address string) (status int, location, page string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, "", "", &Failure{Class: NotSent, Code: CodeNetworkError, Err: errors.New("the URL is not valid")}
	}
	req.Header.Set("Accept", "text/html")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, "", "", networkFailure(err, false)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxPage)) // half a page is as good
	return resp.StatusCode, resp.Header.Get("Location"), string(body), nil
}

// scopes compares what is asked for with what the server offers and the preset needs.
func (t *trial) scopes(context.Context) Stage {
	p, _ := findPreset(t.app.Preset)
	for _, param := range p.Params {
		if param.Required && t.app.AuthorizationParams()[param.Name] == "" {
			return failed("Add it to the parameters of the app.", "The parameter %s is missing (%s): without it the tokens are of no use.", param.Name, param.Title)
		}
	}
	for _, s := range p.Scopes {
		stay := s.Name == "offline_access" || s.Name == "refresh_token"
		if stay && s.Default && !slices.Contains(t.app.Scopes, s.Name) {
			return warned("Add it, unless that is what you want.", "Without the scope %s people must authorize again whenever a token ends.", s.Name)
		}
	}
	if t.metadataOf == nil || len(t.metadataOf.Scopes) == 0 {
		return skipped("The server does not say which scopes it offers.")
	}
	var missing []string
	for _, s := range t.app.Scopes {
		if !slices.Contains(t.metadataOf.Scopes, s) {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		return warned("Check their spelling. A server need not list all its scopes: those of its APIs are often left out.",
			"The server does not list %s among its scopes.", someOf(missing))
	}
	return passed("The server offers all scopes that are asked for.")
}

// someOf joins the first of words that somebody else wrote.
func someOf(words []string) string {
	var some []string
	for _, w := range words[:min(len(words), 8)] {
		some = append(some, clip(displayname.Clean(w, maxName)))
	}
	return strings.Join(some, ", ")
}
