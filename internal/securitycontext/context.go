// Package securitycontext says who is asking: the principal that owns credentials, pools and caches, and the
// verified claims that row and member rules read.
//
// A Context is made once per request by the front door that verified it (internal/jwtauth for a bearer JWT,
// internal/session for a browser) and is read-only from then on. It holds no credential that a model could print:
// access tokens of a JWT's cubeCloud.userCredentials are moved out of the claims into Credentials when it is made.
package securitycontext

import (
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// Realms that are ours. Every other realm is the issuer of an external JWT, which is a URL (OIDC Core §2).
const (
	Local     = "local"      // people of this server; the subject is the user's id
	Hook      = "hook"       // whoever the checkAuth of cube.js says; "hook:" and an issuer for the subject of one
	APISecret = "api-secret" // a name claimed by a JWT that is signed with the API secret and names no local person
)

// Principal is the stable identity of a caller: (realm, subject), never a name or an address alone (OIDC Core §5.7).
// The zero Principal is anonymous: it never has a personal credential.
type Principal struct {
	Realm   string
	Subject string
}

// Anonymous reports whether nobody in particular is asking.
func (p Principal) Anonymous() bool { return p.Realm == "" || p.Subject == "" }

// Key returns p as one string that no other principal has, whatever characters the parts hold: each is preceded by
// its length. It is for keys of maps and caches, not for people.
func (p Principal) Key() string {
	return strconv.Itoa(len(p.Realm)) + ":" + p.Realm + strconv.Itoa(len(p.Subject)) + ":" + p.Subject
}

// Credential is one of a JWT's cubeCloud.userCredentials: an access token that an identity provider put into the
// token it issued.
type Credential struct {
	AccessToken secret.Text
	Status      string    // "active" when it may be used
	ExpiresAt   time.Time // zero when the token did not say
}

// Context is who is asking, and what the one who verified them says about them. It is shared by goroutines: nobody
// changes it or its maps once it is made.
type Context struct {
	// Domain is the id of the workspace that the request addresses.
	Domain string

	// Principal owns the credentials, pools and caches that the request uses.
	Principal Principal

	// Username is what people call the principal; display data, and the name in CUBE_APP_<username>.
	Username string

	// Claims are the verified claims as they came, without access tokens. Hooks see them as securityContext.
	Claims map[string]any

	// Template is what SECURITY_CONTEXT shows to a data model: the claims namespace if one is configured, else the
	// claims with those of the legacy "u" object laid over them (cube-rest-api.md §2.4).
	Template map[string]any

	// Groups are those of the caller, for access policies.
	Groups []string

	// Extended is what the hook extendContext added to the request context. Hooks see it beside securityContext.
	Extended map[string]any

	// AppID is what the hook contextToAppId says; empty without one.
	AppID string

	// Credentials are access tokens that came inside the JWT, by credentials key. They are filled only for issuers
	// that are trusted for it.
	Credentials map[string]Credential
}
