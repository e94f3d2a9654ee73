package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/apiclient"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// contexts are the servers that somebody signed in to, in a file that only they can read.
type contexts struct {
	Current string                 `json:"current"`
	Servers map[string]signedInURL `json:"contexts"`

	path string
}

// signedInURL is one server, and the token for it.
type signedInURL struct {
	URL      string `json:"url"`
	Username string `json:"username"`
	Token    string `json:"token"`
}

// openContexts reads the file; there is none before the first sign-in.
func openContexts() (*contexts, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, fmt.Errorf("find your configuration folder: %w", err)
	}
	c := &contexts{path: filepath.Join(dir, "behalf", "contexts.json"), Servers: map[string]signedInURL{}}
	text, err := os.ReadFile(c.path)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, c); err != nil || c.Servers == nil {
		return nil, fmt.Errorf("%s is damaged: remove it, and run behalf login again", c.path)
	}
	return c, nil
}

// save writes the file as a whole, or not at all.
func (c *contexts) save() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".contexts-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already once it was renamed
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path)
}

// remote says which server a command talks to, and how its answer is printed.
type remote struct {
	Context string `help:"Which of the servers you signed in to; the last one by default." placeholder:"NAME" env:"BEHALF_CLI_CONTEXT"`
	Output  string `help:"How to print: table or json." short:"o" default:"table" enum:"table,json" env:"BEHALF_CLI_OUTPUT"`
}

// errSignedOut is what a command meets that needs somebody signed in. It is exit code 4.
var errSignedOut = &fault.Error{Kind: fault.Unauthenticated, Code: "signed_out", Detail: "You are not signed in. Run: behalf login URL"}

// client returns the client of the chosen server. BEHALF_CLI_URL and BEHALF_CLI_TOKEN, for machines, come before the file.
func (r remote) client() (*apiclient.Client, error) {
	if base, token := os.Getenv("BEHALF_CLI_URL"), os.Getenv("BEHALF_CLI_TOKEN"); token != "" && r.Context == "" {
		if base == "" { // whoever signed in on this machine is not whose token that is
			return nil, usage("BEHALF_CLI_TOKEN is set and BEHALF_CLI_URL is not: say which server the token is for.")
		}
		return apiclient.New(base, secret.New(token))
	}
	_, _, at, err := r.signedIn()
	if err != nil {
		return nil, err
	}
	return apiclient.New(at.URL, secret.New(at.Token))
}

// signedIn returns the chosen entry of the file.
func (r remote) signedIn() (c *contexts, name string, at signedInURL, err error) {
	if c, err = openContexts(); err != nil {
		return nil, "", at, err
	}
	if name = r.Context; name == "" {
		name = c.Current
	}
	at, ok := c.Servers[name]
	if !ok {
		if r.Context != "" {
			detail := fmt.Sprintf("You are not signed in to a server that you called %q. Run: behalf login URL --context %s", r.Context, r.Context)
			if len(c.Servers) > 0 {
				detail += "\nYou are signed in to: " + strings.Join(slices.Sorted(maps.Keys(c.Servers)), ", ")
			}
			return nil, "", at, &fault.Error{Kind: fault.Unauthenticated, Code: "signed_out", Detail: detail}
		}
		return nil, "", at, errSignedOut
	}
	return c, name, at, nil
}
