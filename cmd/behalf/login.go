package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/apiclient"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/oauthapps"
	desktop "github.com/pkg/browser"
	"golang.org/x/oauth2"
)

// loginCommand signs in to a server: in the browser of this machine (RFC 8252), by the device grant where there is none
// (RFC 8628), or with a token that somebody made.
type loginCommand struct {
	URL        string   `arg:"" optional:"" help:"The address of the server. Left out: the one that you signed in to last, or that --context names."`
	App        []string `help:"Also be handed the access tokens of this OAuth app. May be repeated." placeholder:"APP" name:"app"`
	Connect    []string `help:"Also connect this OAuth app by token exchange. May be repeated." placeholder:"APP"`
	Operate    bool     `help:"Also see and stop, as an admin, what runs for everybody."`
	Device     bool     `help:"Show a code to type in a browser, here or on another machine. It is so anyway over SSH, without a display, or in a script." xor:"device"`
	NoBrowser  bool     `help:"The same, and open no browser." xor:"no-browser"`
	TokenStdin bool     `help:"Read a token from standard input instead." xor:"device,no-browser"`
	Context    string   `help:"Your name for this server; its host by default." placeholder:"NAME" env:"BEHALF_CLI_CONTEXT"`
}

// Help is what --help says beside the flags.
func (loginCommand) Help() string {
	return `Examples:
  behalf login https://behalf.example.com
  behalf login https://behalf.example.com --app databricks --app snowflake
  behalf login --device`
}

// Run implements the command.
func (c *loginCommand) Run(ctx context.Context, s streams) error {
	known, err := openContexts()
	if err != nil {
		return err
	}
	name := c.Context
	if c.URL == "" {
		if name == "" {
			name = known.Current
		}
		if c.URL = known.Servers[name].URL; c.URL == "" {
			return usage("Which server? Run: behalf login https://behalf.example.com")
		}
	}
	base, err := apiclient.Base(c.URL)
	if err != nil {
		return err
	}
	if name == "" {
		u, err := url.Parse(base)
		if err != nil {
			return err
		}
		name = u.Host
	}
	value, err := c.token(ctx, s, base)
	if err != nil {
		return err
	}
	client, err := apiclient.New(base, value)
	if err != nil {
		return err
	}
	var current adminapi.CurrentToken
	if err := client.Call(ctx, http.MethodGet, "/tokens/current", nil, &current); err != nil {
		return err
	}
	if known, err = openContexts(); err != nil { // it may have changed while the person decided
		return err
	}
	replaced := known.Servers[name]
	known.Current, known.Servers[name] = name, signedInURL{URL: base, Username: current.Username, Token: value.Reveal()}
	if err := known.save(); err != nil {
		return err
	}
	if replaced.Token != "" && replaced.Token != value.Reveal() && !c.TokenStdin {
		endToken(ctx, s, replaced)
	}
	fmt.Fprintf(s.Err, "You are %s at %s. The token is kept in %s.\n", shown(current.Username), base, known.path)
	return nil
}

// token obtains a token of the server at base.
func (c *loginCommand) token(ctx context.Context, s streams, base string) (secret.Text, error) {
	if c.TokenStdin {
		text, err := io.ReadAll(io.LimitReader(s.In, 4096))
		value := strings.TrimSpace(string(text))
		if err == nil && value == "" {
			err = usage("No token came on standard input.")
		}
		return secret.New(value), err
	}
	scopes := []string{string(tokens.Account)}
	if c.Operate {
		scopes = append(scopes, string(tokens.Operate))
	}
	for _, app := range c.App {
		scopes = append(scopes, string(tokens.HandOut(app)))
	}
	for _, app := range c.Connect {
		scopes = append(scopes, string(tokens.Connect(app)))
	}
	host, err := os.Hostname()
	if err != nil {
		host = "" // the server has words for that
	}
	conf := oauth2.Config{ClientID: authserver.ClientID, Scopes: scopes, Endpoint: oauth2.Endpoint{
		AuthURL: base + authserver.AuthorizePath, DeviceAuthURL: base + authserver.DevicePath, TokenURL: base + authserver.TokenPath, AuthStyle: oauth2.AuthStyleInParams,
	}}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, apiclient.HTTP())
	name := oauth2.SetAuthURLParam("device_name", host)
	if c.Device || c.NoBrowser || !browserHere(s) {
		return c.byDevice(ctx, s, base, conf, name)
	}
	return byBrowser(ctx, s, base, conf, name)
}

// byBrowser obtains a token in the browser of this machine (RFC 8252).
func byBrowser(ctx context.Context, s streams, base string, conf oauth2.Config, name oauth2.AuthCodeOption) (secret.Text, error) {
	if err := checkIssuer(ctx, base); err != nil {
		return secret.Text{}, err
	}
	state, verifier := secret.New(rand.Text()), oauth2.GenerateVerifier()
	back, err := listenForCallback(ctx, state)
	if err != nil {
		return secret.Text{}, fmt.Errorf("%w. The browser could not bring its answer: add --device", err)
	}
	conf.RedirectURL = back.redirectURI()
	page := conf.AuthCodeURL(state.Reveal(), oauth2.S256ChallengeOption(verifier), name)
	fmt.Fprintf(s.Err, "Allow it in your browser. If none opens, open this address on this machine:\n%s\n", page)
	openBrowser(s, page)
	var token *oauth2.Token
	err = back.receive(ctx, func(ctx context.Context, answer url.Values) (err error) {
		// Whose answer it is comes before what it says (RFC 9207 §2.4).
		if iss := answer["iss"]; len(iss) != 1 || iss[0] != base || len(answer["code"]) > 1 || len(answer["error"]) > 1 {
			return &fault.Error{Kind: fault.Denied, Code: "response_mismatch", Detail: "The browser brought the answer of another server than " + base + ". You are not signed in."}
		}
		if code := answer.Get("error"); code != "" {
			return refusedLogin(code, answer.Get("error_description"))
		}
		token, err = conf.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(verifier))
		return oauthError(base, err)
	})
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(token.AccessToken), nil
}

// checkIssuer makes sure that the server at base calls itself that: the name in its answers must be the one that the
// person asked for, or it is some other server's (RFC 8414 §3.3, RFC 9207 §2.4).
func checkIssuer(ctx context.Context, base string) error {
	var says authserver.Metadata
	client, err := apiclient.New(base, secret.Text{})
	if err != nil {
		return err
	}
	if err := client.Get(ctx, authserver.MetadataPath, &says); err != nil {
		return err
	}
	if says.Issuer == base {
		return nil
	}
	if named, err := apiclient.Base(says.Issuer); err != nil || named != says.Issuer {
		return notBehalf(base, http.StatusOK)
	}
	return &fault.Error{Kind: fault.Invalid, Code: "issuer_mismatch",
		Detail: fmt.Sprintf("The server at %s calls itself %s. If that is the one you mean, run: behalf login %s\nIf you cannot reach it by that name, add --device.", base, says.Issuer, says.Issuer)}
}

// byDevice obtains a token with a browser anywhere (RFC 8628).
func (c *loginCommand) byDevice(ctx context.Context, s streams, base string, conf oauth2.Config, name oauth2.AuthCodeOption) (secret.Text, error) {
	begun, err := conf.DeviceAuth(ctx, name)
	if err != nil {
		return secret.Text{}, oauthError(base, err)
	}
	fmt.Fprintf(s.Err, "Open %s\nand type the code %s\n", shown(begun.VerificationURI), shown(begun.UserCode))
	if !c.NoBrowser && browserHere(s) {
		openBrowser(s, begun.VerificationURIComplete)
	}
	token, err := conf.DeviceAccessToken(ctx, begun)
	if err != nil {
		return secret.Text{}, oauthError(base, err)
	}
	return secret.New(token.AccessToken), nil
}

// oauthError makes of a refusal of an OAuth endpoint what a person should read. What the library quotes of an answer
// is left out.
func oauthError(base string, err error) error {
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case ok && e.ErrorCode != "":
		return refusedLogin(e.ErrorCode, e.ErrorDescription)
	case errors.Is(err, context.DeadlineExceeded):
		return errNobodyAllowed
	case ok && e.Response != nil:
		return notBehalf(base, e.Response.StatusCode)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return &apiclient.Unreachable{Base: base, Err: err}
}

// refusedLogin is a sign-in that the server refused with a code of OAuth.
func refusedLogin(code, description string) error {
	switch code {
	case "access_denied":
		return &fault.Error{Kind: fault.Denied, Code: code, Detail: "It was denied in the browser. You are not signed in."}
	case "expired_token":
		return errNobodyAllowed
	}
	if description == "" {
		description = "The server refused it: " + code + "."
	}
	return &fault.Error{Kind: fault.Denied, Code: code, Detail: description}
}

// notBehalf is an answer that no Behalf server gives.
func notBehalf(base string, status int) error {
	return fmt.Errorf("%s answered %d, and not as a Behalf server does: is the address right?", base, status)
}

// browserHere reports whether this machine has a browser with somebody in front of it: not over SSH, without a display,
// or in a script.
func browserHere(s streams) bool {
	out, ok := s.Err.(*os.File)
	return ok && isTerminal(out) && os.Getenv("SSH_CONNECTION") == "" &&
		(runtime.GOOS != "linux" || os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "")
}

// openPage hands an address to the desktop.
var openPage = desktop.OpenURL

// openBrowser opens a page, and reports whether it did. A server may have named it, and what opens pages opens programs
// and files just as well: so it must be one of the web.
func openBrowser(s streams, page string) bool {
	if oauthapps.CheckURL(page) != nil {
		return false
	}
	desktop.Stdout, desktop.Stderr = io.Discard, io.Discard
	failed := make(chan error, 1)
	go func() { failed <- openPage(page) }() // some openers stay for as long as their browser, or this command
	select {
	case err := <-failed:
		if err != nil {
			fmt.Fprintln(s.Err, "No browser could be opened; open the address yourself.")
		}
		return err == nil
	case <-time.After(2 * time.Second):
		return true
	}
}

// endToken revokes a token that is of no use any more. That it fails is no reason to fail: it ends by itself.
func endToken(ctx context.Context, s streams, at signedInURL) {
	client, err := apiclient.New(at.URL, secret.New(at.Token))
	if err == nil {
		err = client.Call(ctx, http.MethodDelete, "/tokens/current", nil, nil)
	}
	if p, ok := errors.AsType[*apiclient.Problem](err); err != nil && !(ok && p.Status == http.StatusUnauthorized) {
		fmt.Fprintf(s.Err, "The old token could not be revoked at the server: %s. Revoke it there, or wait for its end.\n", shown(err.Error()))
	}
}

// logoutCommand forgets a server, and revokes the token.
type logoutCommand struct {
	Context string `help:"Which of the servers; the last one by default." placeholder:"NAME" env:"BEHALF_CLI_CONTEXT"`
}

// Run implements the command.
func (c *logoutCommand) Run(ctx context.Context, s streams) error {
	known, name, at, err := remote{Context: c.Context}.signedIn()
	if err != nil {
		return err
	}
	endToken(ctx, s, at)
	delete(known.Servers, name)
	if known.Current == name {
		known.Current = ""
	}
	if err := known.save(); err != nil {
		return err
	}
	fmt.Fprintf(s.Err, "Signed out of %s.\n", at.URL)
	return nil
}

// whoamiCommand says who one is.
type whoamiCommand struct{ remote }

// Run implements the command.
func (c *whoamiCommand) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var current adminapi.CurrentToken
	if err := client.Call(ctx, http.MethodGet, "/tokens/current", nil, &current); err != nil {
		return c.explain(err)
	}
	return c.print(s, current, func(w io.Writer) {
		fmt.Fprintf(w, "USER\tSERVER\tTOKEN\tSCOPES\tENDS\n%s\t%s\t%s\t%s\t%s\n", shown(current.Username), client.Server(), shown(current.Name), shown(strings.Join(current.Scopes, " ")), when(current.ExpiresAt, "never"))
	})
}

// print writes v as JSON, or what table writes with columns.
func (r remote) print(s streams, v any, table func(io.Writer)) error {
	if r.Output == "json" {
		enc := json.NewEncoder(s.Out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// explain adds to a refusal what to do about it on the command line; with -o json it stays the document.
func (r remote) explain(err error) error { return r.explainWith(err, "") }

// explainWith is explain, with what to do when what was named is not there.
func (r remote) explainWith(err error, notFound string) error {
	p, ok := errors.AsType[*apiclient.Problem](err)
	if !ok {
		return err
	}
	e := &remoteError{Problem: p, json: r.Output == "json"}
	if p.Status == http.StatusNotFound {
		e.hint = notFound
	}
	return e
}

// remoteError is a refusal of the server, to be printed.
type remoteError struct {
	*apiclient.Problem
	json bool
	hint string // what to do, where its code does not say
}

// Unwrap returns the refusal.
func (e *remoteError) Unwrap() error { return e.Problem }

func when(t time.Time, never string) string {
	if t.IsZero() {
		return never
	}
	return t.Local().Format("2006-01-02 15:04")
}
