// Package id makes the identifiers of rows: a word for the kind of thing and 26 characters that sort by the time
// they were made, such as con_01jc3v4k9e8r7x2m5n0q6t1w3y.
package id

import (
	"crypto/rand"
	"encoding/base32"
	"time"
)

// Prefix is the kind of thing an id names.
type Prefix string

// The kinds of things with ids (design.md §2.17).
const (
	User              Prefix = "usr"
	Domain            Prefix = "dom"
	OAuthApp          Prefix = "oap"
	Grant             Prefix = "con"
	Source            Prefix = "src"
	Session           Prefix = "ses"
	Token             Prefix = "tok"
	Job               Prefix = "job"
	Audit             Prefix = "aud"
	Event             Prefix = "evt"
	Delivery          Prefix = "whd" // of an event to one receiver
	Revoke            Prefix = "rev" // one act of containment
	Rotation          Prefix = "krt" // of the data keys
	Connect           Prefix = "cs"  // one attempt to authorize an OAuth app
	Query             Prefix = "qry" // one statement on its way
	Device            Prefix = "dev" // one program that asks to sign in
	AuthorizationCode Prefix = "cod" // of ours
)

// crockford is Crockford's base32 in lower case: no i, l, o, u.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// New returns a new id: prefix, "_", and a UUIDv7 (RFC 9562 §5.7) made at now in 26 characters of base32.
// Ids of later milliseconds sort after those of earlier ones. It is safe for concurrent use.
func New(prefix Prefix, now time.Time) string {
	var u [16]byte
	if _, err := rand.Read(u[6:]); err != nil {
		panic("id: the system has no randomness: " + err.Error()) // crypto/rand never returns one
	}
	ms := now.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	return string(prefix) + "_" + crockford.EncodeToString(u[:])
}

// Random returns n random bytes as unpadded base32: 26 characters for 16 bytes, 52 for 32. It makes session tokens,
// states and other values that must not be guessed.
func Random(n int) string {
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		panic("id: the system has no randomness: " + err.Error()) // crypto/rand never returns one
	}
	return crockford.EncodeToString(b)
}
