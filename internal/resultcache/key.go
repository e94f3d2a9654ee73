package resultcache

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Key names a result: under which credential, or of which role, of which statement, and by which refresh keys. It is
// comparable, and equal only to a key of the same credential or role and the same statements.
type Key struct {
	Scope     driverfactory.PoolKey // of a role: what is left of it without the person
	Role      string                // empty: the credential's alone
	Statement [sha256.Size]byte
}

// OfRole returns the key under which everybody of this role finds what k is. It is k itself for a role that is not known,
// and for a service account, whose results are everybody's already.
func (k Key) OfRole(role string) Key {
	if role == "" || k.Scope.Service {
		return k
	}
	k.Scope.Principal, k.Scope.Epoch = driverfactory.Principal{}, 0
	k.Role = role
	return k
}

// RoleKey returns the key of what is known of the role of scope. No statement has it.
func RoleKey(scope driverfactory.PoolKey) Key { return Key{Scope: scope} }

// KeyOf returns the key of the statement s under the credential scope, whose result is refreshed by the answers of keys.
// It fails with fault.Invalid when an argument is of a type that driverfactory.Statement does not allow.
func KeyOf(scope driverfactory.PoolKey, s driverfactory.Statement, keys ...driverfactory.Statement) (Key, error) {
	d := digest{h: sha256.New()}
	for _, s := range append([]driverfactory.Statement{s}, keys...) {
		d.text('q', s.SQL)
		for i, arg := range s.Args {
			if _, decimal := arg.(driverfactory.Decimal); decimal || !d.value(arg) {
				return Key{}, fault.New(fault.Invalid, "Argument %d of the statement is a %T, which cannot be bound.", i+1, arg)
			}
		}
	}
	k := Key{Scope: scope}
	d.h.Sum(k.Statement[:0])
	return k, nil
}

// digest hashes a list of values so that no two lists run into each other: each has a tag, and its length or a fixed
// width.
type digest struct {
	h   hash.Hash
	buf [9]byte
}

func (d *digest) number(tag byte, v uint64) {
	d.buf[0] = tag
	binary.BigEndian.PutUint64(d.buf[1:], v)
	d.h.Write(d.buf[:])
}

func (d *digest) text(tag byte, s string) {
	d.number(tag, uint64(len(s)))
	d.h.Write([]byte(s))
}
