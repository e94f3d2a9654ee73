// Package secret holds what must not be seen: Text, a string that cannot be printed, logged or serialised, and
// Keyring, which seals it for the database.
//
// A value becomes a Text where it enters the process (a configuration file, a token endpoint, a column of the
// database) and leaves it only through Reveal, which a reviewer can search for.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
)

const redacted = "[redacted]"

// Text is a secret string. Every way of printing it says "[redacted]"; Reveal is the only way out. It holds a
// pointer so that fmt, which skips our methods on unexported fields, prints an address there and not the value.
// The zero Text is empty. Texts are immutable and safe for concurrent use; == compares identity, so use Equal.
type Text struct{ v *string }

// New returns s as a Text.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{&s}
}

// Reveal returns the secret itself. Call it where the secret leaves the process (a header, a form of a token
// request, the sealer), and nowhere else.
func (t Text) Reveal() string {
	if t.v == nil {
		return ""
	}
	return *t.v
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t.v == nil || *t.v == "" }

// Equal compares two secrets in constant time for equal lengths.
func (t Text) Equal(u Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(u.Reveal())) == 1
}

// Hash returns the SHA-256 of the secret in hex: what the database keeps of a random token it must only recognise.
// It is no protection for a secret that can be guessed.
func (t Text) Hash() string {
	sum := sha256.Sum256([]byte(t.Reveal()))
	return hex.EncodeToString(sum[:])
}

// String returns "[redacted]", or "" for the empty Text.
func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return redacted
}

// GoString returns the same as String.
func (t Text) GoString() string { return t.String() }

// Format prints "[redacted]" for every verb.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalText returns "[redacted]", so that JSON, YAML and XML show no more than that.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
