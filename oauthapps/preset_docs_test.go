package oauthapps

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/presets.md anew")

// docs/reference/presets.md is written from the presets: who changes one changes it too, with go test -update.
func TestThePageOfThePresetsIsWhatTheyAre(t *testing.T) {
	name := filepath.Join("..", "docs", "reference", "presets.md")
	want := presetsPage()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reference/presets.md is not what the presets are; run go test ./oauthapps -update, and read the difference")
	}
}

func presetsPage() string {
	var b strings.Builder
	b.WriteString(`# Presets

Written by ` + "`go test ./oauthapps -update`" + ` from the presets in ` + "`oauthapps/preset_*.go`" + `: change those, not this page.

A preset is the value of ` + "`preset`" + ` of an OAuth app ([configuration](configuration.md#oauth-apps)) and a tile of **Admin › Integrations ›
OAuth apps › Add**. It knows which few inputs matter, what follows from them, what to do at the provider, and in what the provider differs
from others. Each such quirk names the public page it is written on, and is a switch of the sandbox's provider: a test leads every preset
through consent, refresh, refusal and revocation at a provider that behaves so. ` + "`behalf oauth-apps presets`" + ` prints this list.

| preset | provider | begins with | client authentication |
| --- | --- | --- | --- |
`)
	for _, p := range Presets() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", p.Name, heading(p), p.Title, p.Begins(), methods(p))
	}
	for _, p := range Presets() {
		fmt.Fprintf(&b, "\n## %s\n\n", p.Title)
		fmt.Fprintf(&b, "`preset: %s`. Begins with %s. The provider's page: <%s>.\n", p.Name, p.Begins(), p.DocsURL)
		var urls []string
		for _, u := range []struct{ name, value string }{
			{"issuer", p.IssuerURL}, {"auth_url", p.AuthURL}, {"token_url", p.TokenURL}, {"revocation_url", p.RevocationURL}, {"userinfo_url", p.UserinfoURL},
		} {
			if u.value != "" {
				urls = append(urls, fmt.Sprintf("| `%s` | `%s` |", u.name, u.value))
			}
		}
		if len(urls) > 0 {
			fmt.Fprintf(&b, "\n| follows | |\n| --- | --- |\n%s\n", strings.Join(urls, "\n"))
		}
		if len(p.Scopes) > 0 {
			b.WriteString("\n| scope | meaning | asked for by default |\n| --- | --- | --- |\n")
			for _, s := range p.Scopes {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Name, s.Title, map[bool]string{true: "yes", false: ""}[s.Default])
			}
		}
		for _, param := range p.Params {
			required := ""
			if param.Required {
				required = ", without which tokens are of no use"
			}
			fmt.Fprintf(&b, "\nParameter `%s`: %s, such as `%s`%s.\n", param.Name, param.Title, param.Example, required)
		}
		if len(p.Quirks.Citations) > 0 {
			b.WriteString("\n| quirk | what is special | source |\n| --- | --- | --- |\n")
			for _, c := range p.Quirks.Citations {
				field := ""
				if c.Field != "" {
					field = "`" + c.Field + "`"
				}
				fmt.Fprintf(&b, "| %s | %s | <%s> |\n", field, c.Says, c.URL)
			}
		}
		// Commands of other people's tools are not for the test that tries ours.
		fmt.Fprintf(&b, "\n**At the provider.** %s\n", strings.ReplaceAll(p.Steps, "```sh\n", "```text\n"))
	}
	return b.String()
}

func methods(p Preset) string {
	var all []string
	for _, m := range p.AuthMethods {
		all = append(all, "`"+string(m)+"`")
	}
	return strings.Join(all, ", ")
}

// heading is the name that the heading of p has in links.
func heading(p Preset) string {
	return strings.ReplaceAll(strings.NewReplacer("(", "", ")", "", ".", "").Replace(strings.ToLower(p.Title)), " ", "-")
}
