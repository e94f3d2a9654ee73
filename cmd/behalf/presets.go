package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/spelling"
	"github.com/behalf-project/behalf/oauthapps"
)

// oauthAppsCommand groups the commands about OAuth apps.
type oauthAppsCommand struct {
	Presets presetsCommand `cmd:"" help:"What this program knows about providers: all of them, or one with what to do there. Needs no server."`
}

// presetsCommand prints the presets.
type presetsCommand struct {
	Name string `arg:"" optional:"" help:"One preset, in full."`
}

// Run implements the command.
func (c presetsCommand) Run(io streams) error {
	if c.Name != "" {
		return c.one(io)
	}
	w := tabwriter.NewWriter(io.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PRESET\tPROVIDER\tYOU GIVE\tSCOPES\tAUTHENTICATION")
	for _, p := range oauthapps.Presets() {
		var scopes []string
		for _, s := range p.Scopes {
			if s.Default {
				scopes = append(scopes, s.Name)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", p.Name, p.Title, p.Begins(), strings.Join(scopes, " "), p.AuthMethods[0])
	}
	return w.Flush()
}

// one prints what to do at one provider, and what is special about it.
func (c presetsCommand) one(io streams) error {
	var names []string
	for _, p := range oauthapps.Presets() {
		names = append(names, p.Name)
		if p.Name != c.Name {
			continue
		}
		fmt.Fprintf(io.Out, "%s: %s\n%s\n\n%s\n", p.Name, p.Title, p.DocsURL, p.Steps)
		if len(p.Quirks.Citations) > 0 {
			fmt.Fprintln(io.Out, "\nWhat is special:")
		}
		for _, q := range p.Quirks.Citations {
			fmt.Fprintf(io.Out, "- %s\n  %s\n", q.Says, q.URL)
		}
		return nil
	}
	return fault.New(fault.NotFound, "There is no preset %q%s", c.Name, spelling.DidYouMean(c.Name, names))
}
