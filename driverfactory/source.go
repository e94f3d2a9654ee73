package driverfactory

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Fallback says whether a person's query may run under the service account when the person has no usable grant.
type Fallback string

// The fallbacks. The zero value is for a source that does not say: it denies where there is an OAuth app to connect,
// and where there is none the source belongs to its service account. FallbackDeny denies in both cases.
const (
	FallbackDeny           Fallback = "deny"
	FallbackServiceAccount Fallback = "service_account"
)

// Source is one data source. It is a value: who edits one makes another with a higher Rev.
type Source struct {
	Domain         string            // id of the workspace that owns it
	Name           string            // unique in the domain; "default" where a model names none
	Rev            int64             // grows with every edit; pools and caches of other revisions are not used
	Type           string            // which Warehouse: "databricks", "snowflake", "postgres", "mysql", "duckdb"
	Options        map[string]string // the Warehouse's own settings, such as host and http_path; never a secret
	OAuthApp       string            // slug of the OAuth app people connect; empty: Config.App decides
	CredentialsKey string            // key below cubeCloud.userCredentials; default: Type without "-jdbc"
	ServiceAccount *ServiceAccount   // the identity of liveness checks and background work; nil when there is none
	Fallback       Fallback          // what a person without a usable grant gets
	CacheScope     CacheScope        // who is answered from cached rows; default CacheUser
	Limits         Limits
	Liveness       Liveness
}

// Digest stands for what s is, whatever its Rev says: processes that were configured differently have different ones. Limits
// and Liveness, which change no row, are not in it. It is made of secrets, too: hash it under a key where others may see it.
func (s Source) Digest() [sha256.Size]byte {
	b := fmt.Appendf(nil, "%q %q %d %q %q %q %q %q", s.Domain, s.Name, s.Rev, s.Type, s.OAuthApp, s.CredentialsKey, s.Fallback, s.CacheScope)
	for _, name := range slices.Sorted(maps.Keys(s.Options)) {
		b = fmt.Appendf(b, " %q=%q", name, s.Options[name])
	}
	if a := s.ServiceAccount; a != nil {
		b = fmt.Appendf(b, " account %q %q %q %q %q %q", a.Name, a.Token.Reveal(), a.Kind, a.User, a.Password.Reveal(), a.PrivateKey.Reveal())
		if o := a.OAuth; o != nil {
			b = fmt.Appendf(b, " oauth %q %q %q %q %q %q %q",
				o.TokenURL, o.ClientID, o.ClientSecret.Reveal(), o.Scopes, o.AuthMethod, o.PrivateKey.Reveal(), o.Audience)
		}
	}
	return sha256.Sum256(b)
}

// ServiceAccount is the identity that belongs to the source and to nobody in particular. Which fields are read is the
// Warehouse's choice; Check refuses a combination it cannot use.
type ServiceAccount struct {
	Name       string // what RunAs.Account shows; default: User, else "service account"
	Token      Secret // a static access token
	Kind       string // of Token, where it matters: "oauth" or "pat"
	User       string
	Password   Secret
	PrivateKey Secret             // PEM, for key pair authentication
	OAuth      *ClientCredentials // RFC 6749 §4.4
}

// ClientCredentials obtain a service account's token at an authorization server (RFC 6749 §4.4).
type ClientCredentials struct {
	TokenURL     string
	ClientID     string
	ClientSecret Secret
	Scopes       []string
	AuthMethod   string // client_secret_basic, client_secret_post or private_key_jwt; empty: basic, or the key's where there is one
	PrivateKey   Secret // of private_key_jwt: PEM or a JWK
	Audience     string // parameter of the token request; empty: none
}

// Limits bound what one source may use. Zero means the default in the comment.
type Limits struct {
	MaxConnections     int           // sessions of all people together; default 64
	PerUserConnections int           // sessions of one person; default 2
	Concurrency        int           // statements at once; default depends on the type (orchestrator.md §2.3)
	PerUserConcurrency int           // statements of one person at once; default 2
	PerUserQueue       int           // waiting statements of one person; default 100
	QueryTimeout       time.Duration // of one statement; default 10 min
}

// Sessions returns how many sessions all people together may have, and how many one of them.
func (l Limits) Sessions() (all, each int) {
	all, each = l.MaxConnections, l.PerUserConnections
	if all <= 0 {
		all = 64
	}
	if each <= 0 {
		each = 2
	}
	return all, each
}

// Liveness says how the source is checked under its service account.
type Liveness struct {
	Every    time.Duration // default 30 s
	Timeout  time.Duration // default 5 s
	Required bool          // whether /readyz fails with it
}
