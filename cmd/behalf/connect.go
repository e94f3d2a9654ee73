package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
	"github.com/behalf-project/behalf/internal/apiclient"
	"github.com/behalf-project/behalf/internal/fault"
)

// connectCommand is one's own connected apps.
type connectCommand struct {
	Authorize connectAuthorize `cmd:"" default:"withargs" help:"Connect an OAuth app, in the browser. Shorter: behalf connect APP."`
	List      connectList      `cmd:"" help:"List the apps you can connect, and what has become of them."`
	Status    connectStatus    `cmd:"" help:"Say how one of them is."`
	Revoke    connectRevoke    `cmd:"" help:"Revoke your grant, here and at the provider."`
	Token     connectToken     `cmd:"" help:"Print an access token of yours, for a script."`
	Exchange  connectExchange  `cmd:"" help:"Connect an OAuth app by a token of your identity provider, without a browser."`
}

// listApps says how to find the name of an app.
const listApps = "Run: behalf connect list, for the names of those there are"

// appPath is the path of an app.
func appPath(app string) string { return "/connected-apps/" + url.PathEscape(app) }

type connectAuthorize struct {
	remote
	App       string `arg:"" help:"The app."`
	NoBrowser bool   `help:"Only print where to go."`
	Wait      bool   `help:"Wait until it is connected, for ten minutes at most. It does so anyway when it opened a browser."`
}

// Run implements the command.
func (c *connectAuthorize) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var begun adminapi.AuthorizeResponse
	if err := client.Call(ctx, http.MethodPost, appPath(c.App)+"/authorize", struct{}{}, &begun); err != nil {
		return c.explainWith(err, listApps)
	}
	if c.Output == "json" && !c.Wait {
		return c.print(s, begun, nil)
	}
	fmt.Fprintln(s.Err, "Open this address, signed in as yourself:")
	fmt.Fprintln(s.Out, shown(begun.AuthorizeURL))
	opened := !c.NoBrowser && browserHere(s) && openBrowser(s, begun.AuthorizeURL)
	if !opened && !c.Wait {
		return nil
	}
	return c.await(ctx, s, client, begun.Session)
}

// await asks until the attempt is done.
func (c *connectAuthorize) await(ctx context.Context, s streams, client *apiclient.Client, id string) error {
	ctx, cancel := context.WithTimeout(ctx, allowed)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var attempt adminapi.ConnectSession
		err := client.Call(ctx, http.MethodGet, "/connect-sessions/"+url.PathEscape(id), nil, &attempt)
		switch {
		case err != nil && ctx.Err() == nil:
			return c.explain(err)
		case err == nil && attempt.Done && attempt.Outcome == "connected":
			fmt.Fprintf(s.Err, "%s is connected.\n", c.App)
			return nil
		case err == nil && attempt.Done:
			return &fault.Error{Kind: fault.AuthorizationRequired, Code: attempt.Outcome, Detail: "It was not connected. Run the command again."}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if ctx.Err() == context.DeadlineExceeded {
				return &fault.Error{Kind: fault.Timeout, Code: "flow_expired", Detail: "It was not connected within ten minutes. Run the command again."}
			}
			return ctx.Err()
		}
	}
}

type connectList struct{ remote }

// Run implements the command.
func (c *connectList) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var list adminapi.ConnectedAppList
	if err := client.Call(ctx, http.MethodGet, "/connected-apps", nil, &list); err != nil {
		return c.explain(err)
	}
	return c.print(s, list, func(w io.Writer) { appTable(w, list.Items...) })
}

// appTable writes what a person needs to know of their connected apps.
func appTable(w io.Writer, apps ...adminapi.ConnectedApp) {
	fmt.Fprintln(w, "APP\tSTATUS\tACCOUNT\tREAUTHORIZE BY\tREASON")
	for _, a := range apps {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", shown(a.App), shown(a.Status), shown(a.Account), when(a.ReauthorizeBy, ""), shown(a.Reason))
	}
}

type connectStatus struct {
	remote
	App string `arg:"" help:"The app."`
}

// Run implements the command.
func (c *connectStatus) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var app adminapi.ConnectedApp
	if err := client.Call(ctx, http.MethodGet, appPath(c.App), nil, &app); err != nil {
		return c.explainWith(err, listApps)
	}
	return c.print(s, app, func(w io.Writer) { appTable(w, app) })
}

type connectRevoke struct {
	remote
	App string `arg:"" help:"The app."`
}

// Run implements the command.
func (c *connectRevoke) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := client.Call(ctx, http.MethodDelete, appPath(c.App), nil, nil); err != nil {
		return c.explainWith(err, listApps)
	}
	fmt.Fprintf(s.Err, "Your access to %s is revoked.\n", c.App)
	return nil
}

type connectToken struct {
	remote
	App     string        `arg:"" help:"The app."`
	MinLife time.Duration `help:"How long the token must live at least, such as 5m. By default 30 s, or a twentieth of its life." placeholder:"DURATION"`

	Audience string   `help:"Exchange it for one that is good for this audience alone, which the app must allow."`
	Scope    []string `help:"With --audience: a scope that the exchanged token is to have. May be repeated; none beyond those granted." short:"s" placeholder:"SCOPE"`
}

// Run implements the command. As a table it is the token alone, for $(…).
func (c *connectToken) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	target, asked := appPath(c.App)+"/token", url.Values{}
	if c.MinLife < 0 {
		return usage("--min-life is a time to come, such as 5m.")
	}
	if c.MinLife > 0 {
		asked.Set("min_life", c.MinLife.String())
	}
	if c.Audience != "" {
		asked.Set("audience", c.Audience)
	}
	if len(c.Scope) > 0 {
		asked.Set("scope", strings.Join(c.Scope, " "))
	}
	if len(asked) > 0 {
		target += "?" + asked.Encode()
	}
	var out adminapi.HandedOut
	if err := client.Call(ctx, http.MethodGet, target, nil, &out); err != nil {
		return c.explainWith(err, listApps)
	}
	return c.print(s, out, func(w io.Writer) { fmt.Fprintln(w, out.AccessToken) })
}

type connectExchange struct {
	remote
	App              string `arg:"" help:"The app."`
	SubjectTokenFile string `help:"File with the token, a JWT that names you; - is standard input." required:"" placeholder:"FILE"`
	SubjectTokenType string `help:"What it is: jwt, id_token or access_token." enum:"jwt,id_token,access_token" default:"jwt"`
}

// maxSubjectToken bounds what is read for a token: what the server takes.
const maxSubjectToken = 32 << 10

// Run implements the command. The token is read and never an argument: those stand in lists of processes.
func (c *connectExchange) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	text, err := c.subjectToken(s)
	if err != nil {
		return err
	}
	in := adminapi.ExchangeRequest{SubjectToken: text, SubjectTokenType: "urn:ietf:params:oauth:token-type:" + c.SubjectTokenType}
	var app adminapi.ConnectedApp
	if err := client.Call(ctx, http.MethodPost, appPath(c.App)+"/exchange", in, &app); err != nil {
		return c.explain(err)
	}
	fmt.Fprintf(s.Err, "%s is connected.\n", shown(app.Name))
	return c.print(s, app, func(w io.Writer) { appTable(w, app) })
}

// subjectToken reads the token.
func (c *connectExchange) subjectToken(s streams) (string, error) {
	from, name := s.In, "standard input"
	if c.SubjectTokenFile != "-" {
		f, err := os.Open(c.SubjectTokenFile)
		if err != nil {
			return "", err
		}
		defer f.Close()
		from, name = f, c.SubjectTokenFile
	}
	text, err := io.ReadAll(io.LimitReader(from, maxSubjectToken+1))
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	switch {
	case token == "":
		return "", usage("There is no token in " + name + ".")
	case len(text) > maxSubjectToken:
		return "", usage("What is in " + name + " is too large for a token.")
	}
	return token, nil
}

// tokensCommand is one's own personal access tokens.
type tokensCommand struct {
	Create tokensCreate `cmd:"" help:"Make a token, and print it this once."`
	List   tokensList   `cmd:"" help:"List your tokens."`
	Revoke tokensRevoke `cmd:"" help:"Revoke a token."`
	Cube   tokensCube   `cmd:"" help:"Sign a JWT for the query API with the API secret. Needs no server."`
}

type tokensCreate struct {
	remote
	Name  string   `arg:"" help:"What uses it."`
	Scope []string `help:"What it may do: account, token:APP or connect:APP. May be repeated." required:"" placeholder:"SCOPE" short:"s"`
	Days  *int     `help:"How many days it lives; by default as long as the server says, 90 days if it says nothing." placeholder:"N"`
}

// Help is what --help says beside the flags.
func (tokensCreate) Help() string {
	return `Examples:
  behalf tokens create "nightly report" -s token:databricks --days 30
  export BEHALF_CLI_TOKEN=$(behalf tokens create ci -s account)`
}

// Run implements the command. As a table it is the token alone, for $(…).
func (c *tokensCreate) Run(ctx context.Context, s streams) error {
	if c.Days != nil && *c.Days < 1 {
		return usage("--days is 1 or more.")
	}
	client, err := c.client()
	if err != nil {
		return err
	}
	in := adminapi.NewToken{Name: c.Name, Scopes: c.Scope}
	if c.Days != nil {
		seconds := int64(*c.Days) * 86400
		in.ExpiresInSeconds = &seconds
	}
	var made adminapi.MadeToken
	if err := client.Call(ctx, http.MethodPost, "/tokens", in, &made); err != nil {
		return c.explain(err)
	}
	fmt.Fprintf(s.Err, "Made %s, until %s. It is shown this once.\n", shown(made.ID), when(made.ExpiresAt, "it is revoked"))
	return c.print(s, made, func(w io.Writer) { fmt.Fprintln(w, made.Value) })
}

type tokensList struct{ remote }

// Run implements the command.
func (c *tokensList) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var list adminapi.TokenList
	if err := client.Call(ctx, http.MethodGet, "/tokens", nil, &list); err != nil {
		return c.explain(err)
	}
	return c.print(s, list, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tNAME\tSCOPES\tLAST USED\tENDS")
		for _, t := range list.Items {
			ends := when(t.ExpiresAt, "never")
			if !t.RevokedAt.IsZero() {
				ends = "revoked " + when(t.RevokedAt, "")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", shown(t.ID), shown(t.Name), shown(strings.Join(t.Scopes, " ")), when(t.UsedAt, "never"), ends)
		}
	})
}

type tokensRevoke struct {
	remote
	ID string `arg:"" help:"Its id, as behalf tokens list shows it."`
}

// Run implements the command.
func (c *tokensRevoke) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := client.Call(ctx, http.MethodDelete, "/tokens/"+url.PathEscape(c.ID), nil, nil); err != nil {
		return c.explainWith(err, "Run: behalf tokens list, for the ids of yours")
	}
	fmt.Fprintf(s.Err, "%s is revoked.\n", c.ID)
	return nil
}
