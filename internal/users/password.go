package users

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// Params are the costs of argon2id (RFC 9106 §3.1).
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// Floor is the least that new hashes cost: the minimum that OWASP recommends (sso.md §6.2).
var Floor = Params{Memory: 19456, Time: 2, Threads: 1}

// ceiling bounds what a hash from a file or the database may cost: one that asks for more is refused instead of run.
var ceiling = Params{Memory: 256 << 10, Time: 16, Threads: 16}

const (
	saltBytes = 16
	hashBytes = 32

	minPassword = 12   // bytes after normalisation
	maxPassword = 1024 // bytes, before and after
)

// wait is how long a sign-in waits for its turn at hashing.
const wait = 5 * time.Second

// phc is a parsed hash in the PHC string format.
type phc struct {
	params     Params
	salt, hash []byte
}

var encoding = base64.RawStdEncoding.Strict()

// parsePHC reads a string such as $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>, within the ceiling.
func parsePHC(s string) (phc, error) {
	parts := strings.Split(s, "$")
	if len(s) > 512 || len(parts) != 6 || parts[0] != "" {
		return phc{}, errors.New("it is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if parts[1] != "argon2id" {
		return phc{}, errors.New("only argon2id is supported")
	}
	if parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, fmt.Errorf("only version %d of argon2id is supported", argon2.Version)
	}
	var h phc
	var costs [3]uint64
	fields := strings.Split(parts[3], ",")
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := "", len(fields) == 3
		if ok {
			digits, ok = strings.CutPrefix(fields[i], name)
		}
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || strconv.FormatUint(v, 10) != digits {
			return phc{}, errors.New("the costs are not of the form m=…,t=…,p=…")
		}
		costs[i] = v
	}
	if costs[1] < 1 || costs[1] > uint64(ceiling.Time) || costs[2] < 1 || costs[2] > uint64(ceiling.Threads) ||
		costs[0] < 8*costs[2] || costs[0] > uint64(ceiling.Memory) {
		return phc{}, fmt.Errorf("the costs are out of bounds: m is 8·p to %d, t 1 to %d, p 1 to %d", ceiling.Memory, ceiling.Time, ceiling.Threads)
	}
	h.params = Params{uint32(costs[0]), uint32(costs[1]), uint8(costs[2])}
	var err1, err2 error
	h.salt, err1 = encoding.DecodeString(parts[4])
	h.hash, err2 = encoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.hash) < 16 || len(h.hash) > 64 {
		return phc{}, errors.New("salt or hash is not base64 of 8 to 64 and 16 to 64 bytes")
	}
	return h, nil
}

// String returns h in the PHC string format.
func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.params.Memory, h.params.Time, h.params.Threads,
		encoding.EncodeToString(h.salt), encoding.EncodeToString(h.hash))
}

// weaker reports whether one of p's costs is below that of q.
func (p Params) weaker(q Params) bool {
	return p.Memory < q.Memory || p.Time < q.Time || p.Threads < q.Threads
}

// normalize returns the bytes of a password that are hashed: the same whichever way a keyboard composes its
// characters (NIST SP 800-63B-4 §3.1.1.2).
func normalize(password secret.Text) []byte { return norm.NFKC.Bytes([]byte(password.Reveal())) }

// hasher runs argon2id, a few at a time: each needs Params.Memory.
type hasher struct {
	params Params
	slots  chan struct{}
	dummy  phc // compared where there is no password, so that this takes as long
}

func newHasher(params Params) *hasher {
	h := &hasher{params: params, slots: make(chan struct{}, max(2, runtime.NumCPU()))}
	h.dummy = phc{params: params, salt: random(saltBytes), hash: random(hashBytes)}
	return h
}

// hash returns a new PHC string for password.
func (h *hasher) hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	made := phc{params: h.params, salt: random(saltBytes)}
	err := h.turn(ctx, func() {
		made.hash = argon2.IDKey(normalize(password), made.salt, h.params.Time, h.params.Memory, h.params.Threads, hashBytes)
	})
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(made.String()), nil
}

// verify reports whether password is the one of stored. It takes as long for a person without a password.
func (h *hasher) verify(ctx context.Context, stored, password secret.Text) (match bool, costs Params, err error) {
	known, parseErr := parsePHC(stored.Reveal())
	if parseErr != nil {
		known = h.dummy
	}
	// Longer than any password may be: not worth hashing, but worth the time that it takes to find that out.
	typed := normalize(password)
	if len(typed) > maxPassword {
		typed, parseErr = typed[:maxPassword], errors.New("too long")
	}
	var sum []byte
	err = h.turn(ctx, func() {
		sum = argon2.IDKey(typed, known.salt, known.params.Time, known.params.Memory, known.params.Threads, uint32(len(known.hash)))
	})
	if err != nil {
		return false, Params{}, err
	}
	return subtle.ConstantTimeCompare(sum, known.hash) == 1 && parseErr == nil, known.params, nil
}

// turn runs f when there is a slot for it, and fails with fault.Unavailable when there is none for too long.
func (h *hasher) turn(ctx context.Context, f func()) error {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case h.slots <- struct{}{}:
	case <-timeout.C:
		return &fault.Error{Kind: fault.Unavailable, Code: "sign_in_busy", RetryAfter: wait,
			Detail: "Too many people are signing in at this moment. Try again in a few seconds."}
	case <-ctx.Done():
		return fault.Wrap(fault.Canceled, ctx.Err(), "The request was cancelled.")
	}
	defer func() { <-h.slots }()
	f()
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}
