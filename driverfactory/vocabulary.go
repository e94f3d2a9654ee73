package driverfactory

import (
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// What an outside module needs of our vocabulary.
type (
	// SecurityContext is who is asking.
	SecurityContext = securitycontext.Context
	// Principal is the stable identity of a caller.
	Principal = securitycontext.Principal
	// Secret is a string that cannot be printed.
	Secret = secret.Text
)

// NewSecret returns s as a Secret.
func NewSecret(s string) Secret { return secret.New(s) }

// The refusals that an outside module gives from its Credentials, and asks for with errors.Is.
const (
	ErrAuthorizationRequired   = fault.AuthorizationRequired   // the person never connected the OAuth app
	ErrReauthorizationRequired = fault.ReauthorizationRequired // they did, and the grant has ended
	ErrAppDisabled             = fault.AppDisabled             // an admin paused the OAuth app
	ErrRefreshFailing          = fault.RefreshFailing          // the authorization server does not answer, and the token ended
	ErrDenied                  = fault.Denied                  // the person may not
	ErrInvalid                 = fault.Invalid                 // the source or the request is wrong
	ErrUnavailable             = fault.Unavailable             // something needed does not answer
)

// Error is a refusal with what a person may read of it: a sentence, who can fix it, and what to do next.
type Error = fault.Error
