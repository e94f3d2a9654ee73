package sharedcache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/internal/rowset"
)

// Result is what a replica fetched.
type Result struct {
	Columns []driverfactory.Column
	Rows    *rowset.Rows
	RanAt   time.Time
	Values  resultcache.Values // of its refresh keys

	By   driverfactory.PoolKey // the credential that fetched it; Put knows it
	Role string                // that the result is for, too; empty: for that credential only
}

// everybodys is the name of everybody's generation. It is the only one that is no hash.
const everybodys = "behalf:generation"

const generationSize = 16

// generations are those of everybody and of an owner.
type generations struct{ everybodys, owners []byte }

func (g generations) whole() bool {
	return len(g.everybodys) == generationSize && len(g.owners) == generationSize
}

// place is where a result is in the Store. What is one owner's is in one hash slot.
type place struct {
	owner             string
	generation, value string
	names             [32]byte // key of the hashes in names
	key               [32]byte // for values, together with the generations
}

// place returns the place of k, unless the Store is not asked about it now.
func (c *Cache) place(k Key) (p place, ok bool) {
	if !k.Scope.Service {
		p.owner = k.Scope.Principal.Key()
	}
	if !c.usable(p.owner) {
		return p, false
	}
	names, err := c.cfg.Derive("names of shared results")
	if err != nil {
		return p, false
	}
	if p.key, err = c.cfg.Derive("values of shared results"); err != nil {
		return p, false
	}
	tag := ownerTag(names, p.owner)
	p.generation = tag + "generation"
	p.value = tag + hash(names, fmt.Appendf(nil, "result %q %q %d %q %q %t %q %d %x %x", k.Scope.Domain, k.Scope.Source, k.Scope.SourceRev,
		k.Scope.Principal.Realm, k.Scope.Principal.Subject, k.Scope.Service, k.Scope.App, k.Scope.Epoch, k.Source, k.Statement))
	p.names = names
	return p, true
}

// lease returns the name of the lease of who fetches the result for refresh keys with these answers.
func (p place) lease(values resultcache.Values) string {
	return p.value + ":" + hash(p.names, fmt.Appendf(nil, "lease %x", values))
}

// generation returns the name of an owner's generation.
func (c *Cache) generation(owner string) (string, error) {
	if owner == Everybody {
		return everybodys, nil
	}
	names, err := c.cfg.Derive("names of shared results")
	return ownerTag(names, owner) + "generation", err
}

// ownerTag returns what the names of an owner's values begin with. That of the service accounts is "" here.
func ownerTag(key [32]byte, owner string) string {
	return "behalf:{" + hash(key, fmt.Appendf(nil, "owner %q", owner)) + "}:"
}

// hash returns text of which nobody without key learns anything.
func hash(key [32]byte, text []byte) string {
	h := hmac.New(sha256.New, key[:])
	h.Write(text)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// aead returns what seals and opens the values of p, and the associated data that binds them to it. Its key is of the generations:
// with them goes what was sealed.
func (p place) aead(g generations) (a cipher.AEAD, bound []byte, err error) {
	if !g.whole() {
		return nil, nil, errors.New("there is no generation")
	}
	a, err = newAEAD(p.key, g.everybodys, g.owners)
	return a, []byte(p.value), err
}

// newAEAD returns what seals and opens under key in these generations.
func newAEAD(key [32]byte, generations ...[]byte) (cipher.AEAD, error) {
	h := hmac.New(sha256.New, key[:])
	for _, g := range generations {
		h.Write(g)
	}
	block, err := aes.NewCipher(h.Sum(nil))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal returns v as it is kept at p, and opens there only.
func (p place) seal(g generations, v value) ([]byte, error) {
	a, bound, err := p.aead(g)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nil, v.encode(), bound), nil
}

// open returns what was sealed for p in the generations g.
func (p place) open(g generations, sealed []byte) (value, error) {
	a, bound, err := p.aead(g)
	if err != nil {
		return value{}, err
	}
	plain, err := a.Open(nil, nil, sealed, bound)
	if err != nil {
		return value{}, err
	}
	return decode(plain)
}

// value is a Result with who put it, and until when it is one.
type value struct {
	Result
	by  []byte // the lease of its loader
	end time.Time
}

// format begins every value that this version writes and reads. Replicas of versions with different ones share nothing.
const format = 2

// maxColumns and maxRows are more than any result has.
const (
	maxColumns = 1 << 16
	maxRows    = 1 << 24
)

// encode writes v: the format, by, the end and RanAt in nanoseconds, Values, Role, the columns, the number of rows and the rows.
func (v value) encode() []byte {
	b := make([]byte, 0, 256+32*len(v.Columns)+int(v.Rows.Size()))
	b = append(append(b, format), v.by...)
	b = binary.BigEndian.AppendUint64(b, uint64(v.end.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(v.RanAt.UnixNano()))
	b = append(b, v.Values[:]...)
	b = appendText(b, v.Role)
	b = binary.AppendUvarint(b, uint64(len(v.Columns)))
	for _, c := range v.Columns {
		b = appendText(appendText(b, c.Name), c.Type)
	}
	b = binary.AppendUvarint(b, uint64(v.Rows.Len()))
	return v.Rows.AppendTo(b)
}

// appendText writes text with its length.
func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// decode reads what encode wrote, and fails for anything else. The rows are in b.
func decode(b []byte) (v value, err error) {
	r := reader{rest: b}
	if got := r.bytes(1); r.failed || got[0] != format {
		return v, errors.New("the value is of another format")
	}
	v.by = r.bytes(generationSize)
	v.end, v.RanAt = r.time(), r.time()
	copy(v.Values[:], r.bytes(len(v.Values)))
	v.Role = r.text()
	n := r.number(maxColumns)
	for range n {
		c := driverfactory.Column{Name: r.text(), Type: r.text()}
		if r.failed {
			break
		}
		v.Columns = append(v.Columns, c)
	}
	rows := r.number(maxRows)
	if r.failed {
		return value{}, errors.New("the value breaks off")
	}
	v.Rows, err = rowset.Parse(r.rest, n, rows)
	return v, err
}

// reader reads parts of a value. After the end of it, it has failed and goes on with nothing.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.rest) {
		r.failed, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) number(most uint64) int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > most {
		r.failed, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

func (r *reader) text() string { return string(r.bytes(r.number(1 << 20))) }

func (r *reader) time() time.Time {
	b := r.bytes(8)
	if r.failed {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
}
