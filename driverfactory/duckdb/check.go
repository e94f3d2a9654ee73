package duckdb

import (
	"strings"

	"github.com/behalf-project/behalf/driverfactory"
)

var (
	_ driverfactory.Warehouse = (*Warehouse)(nil)
	_ driverfactory.LoginFree = (*Warehouse)(nil)
)

// Check returns what is wrong with src.
func (w *Warehouse) Check(src driverfactory.Source) error {
	c := driverfactory.NewChecker(src, "path")
	path := src.Options["path"]
	// DuckDB takes what follows a "?" for settings, and what precedes a ":" for the name of an extension.
	name := path
	if len(name) > 2 && name[1] == ':' && (name[2] == '\\' || name[2] == '/') {
		name = name[2:] // a drive of Windows
	}
	if strings.ContainsAny(name, "?#%:") || strings.HasPrefix(name, "-") {
		c.Wrong("options/path", "invalid", "path is %q; it is the path of a DuckDB file and may not hold any of ? # %% :", path)
	}
	if src.OAuthApp != "" {
		c.Wrong("oauth_app", "unsupported",
			"a DuckDB file knows no people, so there is nothing to authorize; leave oauth_app out")
	}
	if a := src.ServiceAccount; a != nil &&
		(!a.Token.Empty() || !a.Password.Empty() || !a.PrivateKey.Empty() || a.User != "" || a.OAuth != nil) {
		c.Wrong("service_account", "unsupported", "a DuckDB file knows no users; leave service_account out")
	}
	return c.Err()
}

// LoginFree is true: a file has no users.
func (w *Warehouse) LoginFree() bool { return true }

// TokenAtLogin is false: there are no tokens.
func (w *Warehouse) TokenAtLogin() bool { return false }
