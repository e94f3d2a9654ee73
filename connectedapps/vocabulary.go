package connectedapps

import (
	"github.com/behalf-project/behalf/internal/credential"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// What an outside module needs of our vocabulary.
type (
	// Principal is the stable identity of a person.
	Principal = securitycontext.Principal
	// Secret is a string that cannot be printed.
	Secret = secret.Text
	// Token is an access token at one moment of its grant's life; driverfactory.Token is the same type.
	Token = credential.Token
)
