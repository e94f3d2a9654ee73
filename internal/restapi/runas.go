package restapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/orchestrator"
)

// appendRunAs writes the member of an answer that says which identity ran the statement (design.md §4).
func appendRunAs(out []byte, r driverfactory.RunAs) []byte {
	out = appendString(append(out, `{"identity":`...), string(r.Identity))
	out = appendString(append(out, `,"username":`...), r.Username)
	if r.Account != "" {
		out = appendString(append(out, `,"account":`...), r.Account)
	}
	out = appendString(append(out, `,"dataSource":`...), r.DataSource)
	out = appendString(append(out, `,"credential":`...), r.Credential)
	out = appendString(append(out, `,"reason":`...), r.Reason)
	return append(out, '}')
}

// setRunAs writes the header Behalf-Run-As: a structured field list (RFC 9651 §3.1) with one item per distinct
// identity.
func setRunAs(h http.Header, results []*orchestrator.Result) {
	var items []string
	seen := map[string]bool{}
	for _, r := range results {
		item := string(r.RunAs.Identity)
		if r.RunAs.Identity == driverfactory.IdentityServiceAccount {
			item += ";account=" + fieldString(r.RunAs.Account)
		}
		if r.RunAs.Username != "" {
			item += ";username=" + fieldString(r.RunAs.Username)
		}
		if r.RunAs.Identity == driverfactory.IdentityServiceAccount {
			item += ";reason=" + fieldString(r.RunAs.Reason)
		}
		if r.Cached {
			item += ";cached"
		}
		if r.OfRole {
			item += `;cache-scope="role"`
		}
		if !seen[item] {
			seen[item] = true
			items = append(items, item)
		}
	}
	if len(items) > 0 {
		h.Set("Behalf-Run-As", strings.Join(items, ", "))
	}
}

var escapeString = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// fieldString writes s as a String (RFC 9651 §4.1.6), or as a Display String (§4.1.11) when it is not plain ASCII.
func fieldString(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= 0x20 && s[i] < 0x7f
	}
	if plain {
		return `"` + escapeString.Replace(s) + `"`
	}
	var b strings.Builder
	b.WriteString(`%"`)
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '%' || c == '"' {
			fmt.Fprintf(&b, "%%%02x", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}
