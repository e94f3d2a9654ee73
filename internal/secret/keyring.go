package secret

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keyring seals secrets for the database with the data keys: AES-256-GCM under a keyset, of which the primary key seals
// and every key opens. It is safe for concurrent use.
//
// A key is rotated in steps, each of which is a new keyring: WithNewKey adds one that only opens, WithPrimary makes it
// seal, and WithOnly drops the others. Whoever holds the keyring of one step opens what is sealed with that of the next
// one and the last one.
type Keyring struct {
	keys   atomic.Pointer[keys]
	reload func() // see Reload; may be nil
}

// keys are what a Keyring holds at one time.
type keys struct {
	handle  *keyset.Handle
	aead    tink.AEAD
	primary uint32
	ids     []uint32
	derived sync.Map // by purpose: [sha256.Size]byte
}

// NewKeyring makes a data key and returns a Keyring over it.
func NewKeyring() (*Keyring, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make data keys: %w", err)
	}
	return over(handle)
}

// OpenKeyring returns a Keyring over data keys that m wrapped. It is fault.Denied and ErrWrongMaster when another master
// did, and what the KMS said when that failed.
func OpenKeyring(ctx context.Context, m *Master, wrapped []byte) (*Keyring, error) {
	handle, err := m.unwrap(ctx, wrapped)
	if err != nil {
		return nil, err
	}
	return over(handle)
}

func over(handle *keyset.Handle) (*Keyring, error) {
	a, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use data keys: %w", err)
	}
	info := handle.KeysetInfo()
	held := &keys{handle: handle, aead: a, primary: info.GetPrimaryKeyId()}
	for _, key := range info.GetKeyInfo() {
		held.ids = append(held.ids, key.GetKeyId())
	}
	k := new(Keyring)
	k.keys.Store(held)
	return k, nil
}

// Wrap returns the data keys as they may be stored: wrapped by m.
func (k *Keyring) Wrap(ctx context.Context, m *Master) ([]byte, error) {
	return m.wrap(ctx, k.keys.Load().handle)
}

// Primary returns the id of the key that seals.
func (k *Keyring) Primary() uint32 { return k.keys.Load().primary }

// IDs returns the ids of all keys.
func (k *Keyring) IDs() []uint32 { return slices.Clone(k.keys.Load().ids) }

// WithNewKey returns a keyring with one key more, which opens and does not seal yet, and its id.
func (k *Keyring) WithNewKey() (next *Keyring, id uint32, err error) {
	next, err = k.edit(func(m *keyset.Manager) error {
		id, err = m.Add(aead.AES256GCMKeyTemplate())
		return err
	})
	return next, id, err
}

// WithPrimary returns a keyring whose key id seals.
func (k *Keyring) WithPrimary(id uint32) (*Keyring, error) {
	return k.edit(func(m *keyset.Manager) error { return m.SetPrimary(id) })
}

// WithOnly returns a keyring with the key id and no other.
func (k *Keyring) WithOnly(id uint32) (*Keyring, error) {
	return k.edit(func(m *keyset.Manager) error {
		for _, other := range k.IDs() {
			if other == id {
				continue
			}
			if err := m.Delete(other); err != nil {
				return err
			}
		}
		return nil
	})
}

// edit returns a keyring with the keys as change leaves them.
func (k *Keyring) edit(change func(*keyset.Manager) error) (*Keyring, error) {
	m := keyset.NewManagerFromHandle(k.keys.Load().handle)
	if err := change(m); err != nil {
		return nil, fmt.Errorf("change the data keys: %w", err)
	}
	handle, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("change the data keys: %w", err)
	}
	return over(handle)
}

// Derive returns a key of its own for purpose, made of the data key that seals (RFC 5869): the same at every replica, another
// one for each purpose, and another one from when another data key seals. It is for what may be lost then. A program has few
// purposes, and each is derived once.
func (k *Keyring) Derive(purpose string) (key [sha256.Size]byte, err error) {
	held := k.keys.Load()
	if known, ok := held.derived.Load(purpose); ok {
		return known.([sha256.Size]byte), nil
	}
	entry, err := held.handle.Primary()
	if err != nil {
		return key, fmt.Errorf("derive a key: %w", err)
	}
	primary, ok := entry.Key().(*aesgcm.Key)
	if !ok {
		return key, fmt.Errorf("derive a key: the data key is a %T", entry.Key())
	}
	derived, err := hkdf.Key(sha256.New, primary.KeyBytes().Data(insecuresecretdataaccess.Token{}), nil, "behalf: "+purpose, len(key))
	if err != nil {
		return key, fmt.Errorf("derive a key: %w", err)
	}
	key = [sha256.Size]byte(derived)
	held.derived.Store(purpose, key)
	return key, nil
}

// Use makes k seal and open with the keys of next from now on.
func (k *Keyring) Use(next *Keyring) { k.keys.Store(next.keys.Load()) }

// Reload sets what Open calls, once and then tries again, when it meets a value of a key that is not in the ring: it
// should Use newer keys if there are some. It is called before k is used by others, and may be called concurrently.
func (k *Keyring) Reload(reload func()) { k.reload = reload }

// prefix is how Tink begins a ciphertext: a byte, and the id of its key (developers.google.com/tink/wire-format).
const prefix = 5

// KeyPrefix returns what begins every value that the key id has sealed.
func KeyPrefix(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{1}, id) }

// KeyID returns the id of the key that sealed, as the value itself says it, or false for what no key has sealed.
func KeyID(sealed []byte) (uint32, bool) {
	if len(sealed) < prefix || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:prefix]), true
}

// Place is the one place where a sealed value opens: a field of a row. It is authenticated with the value, so a value
// copied to another row, field or table, or a row handed to another person or domain, does not open.
type Place struct {
	Table  string
	Domain string // of the row; empty when the row belongs to none
	ID     string // of the row
	Owner  string // Principal.Key of whose row it is, and what else never changes; empty when it is nobody's
	Field  string
}

// String returns p as text that no other Place has: each part is preceded by its length.
func (p Place) String() string {
	var s []byte
	for _, part := range []string{p.Table, p.Domain, p.ID, p.Owner, p.Field} {
		s = strconv.AppendInt(s, int64(len(part)), 10)
		s = append(append(append(s, ':'), part...), '|')
	}
	return string(s)
}

// Seal returns plain encrypted for p. The empty Text seals to nothing, so that a store can tell that there is none.
func (k *Keyring) Seal(plain Text, p Place) ([]byte, error) {
	if plain.Empty() {
		return nil, nil
	}
	sealed, err := k.keys.Load().aead.Encrypt([]byte(plain.Reveal()), []byte(p.String()))
	if err != nil {
		return nil, fmt.Errorf("seal %s.%s: %w", p.Table, p.Field, err)
	}
	return sealed, nil
}

// Open returns what was sealed for p. It fails for a value that was changed, sealed for another place, or sealed with
// a key that is not in the ring.
func (k *Keyring) Open(sealed []byte, p Place) (Text, error) {
	if len(sealed) == 0 {
		return Text{}, nil
	}
	held := k.keys.Load()
	id, ok := KeyID(sealed)
	if ok && !slices.Contains(held.ids, id) && k.reload != nil {
		k.reload()
		held = k.keys.Load()
	}
	if ok && !slices.Contains(held.ids, id) {
		return Text{}, fmt.Errorf("open %s.%s of %s: %w", p.Table, p.Field, p.ID, &MissingKeyError{id})
	}
	plain, err := held.aead.Decrypt(sealed, []byte(p.String()))
	if err != nil {
		return Text{}, fmt.Errorf("open %s.%s of %s, sealed with the data key %d: %w", p.Table, p.Field, p.ID, id, err)
	}
	return New(string(plain)), nil
}

// MissingKeyError says that a value was sealed with a data key that is not in the ring.
type MissingKeyError struct{ KeyID uint32 }

// Error implements error.
func (e *MissingKeyError) Error() string {
	return "it was sealed with the data key " + strconv.FormatUint(uint64(e.KeyID), 10) + ", which is not here"
}
