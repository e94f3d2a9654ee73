package sharedcache

import (
	"context"
	"errors"
	"fmt"

	"github.com/behalf-project/behalf/driverfactory"
)

// held is where it is said who holds the result for a role. The whole of it is one name in the Store.
type held struct {
	name string
	key  [32]byte // together with everybody's generation
}

// heldAt returns where the holder of the result for k is, which is of a role.
func (c *Cache) heldAt(k Key) (held, error) {
	names, err := c.cfg.Derive("names of shared results")
	if err != nil {
		return held{}, err
	}
	key, err := c.cfg.Derive("holders of shared results")
	name := hash(names, fmt.Appendf(nil, "holder %q %q %d %q %q %x %x", k.Scope.Domain, k.Scope.Source, k.Scope.SourceRev, k.Scope.App, k.Role, k.Source, k.Statement))
	return held{"behalf:{" + name + "}:holder", key}, err
}

// holder returns the key of the credential that fetched the result for k last, which is of a role. Whatever is wrong, there is
// none.
func (c *Cache) holder(ctx context.Context, k Key) (own Key, ok bool) {
	at, err := c.heldAt(k)
	if err != nil || !c.usable(Everybody) {
		return k, false
	}
	var got [][]byte
	if !c.call(ctx, func(ctx context.Context) (err error) {
		got, err = c.get(ctx, everybodys, at.name)
		return err
	}) || len(got[0]) != generationSize || got[1] == nil {
		return k, false
	}
	a, err := newAEAD(at.key, got[0])
	if err != nil {
		return k, false
	}
	plain, err := a.Open(nil, nil, got[1], []byte(at.name))
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stats.Refused++
		return k, false
	}
	own = k
	own.Role = ""
	own.Scope, err = decodeHolder(plain, k.Scope)
	return own, err == nil && own.OfRole(k.Role) == k.Key
}

// hold says that by holds the result for k, which is of a role.
func (c *Cache) hold(ctx context.Context, k Key, by driverfactory.PoolKey, everybodys []byte) error {
	at, err := c.heldAt(k)
	if err != nil {
		return err
	}
	a, err := newAEAD(at.key, everybodys)
	if err != nil {
		return err
	}
	return c.cfg.Store.Set(ctx, at.name, a.Seal(nil, nil, encodeHolder(by), []byte(at.name)), c.cfg.TTL)
}

// release says that nobody holds the result for k, which is of a role.
func (c *Cache) release(ctx context.Context, k Key) {
	if at, err := c.heldAt(k); err == nil && c.usable(Everybody) {
		c.call(ctx, func(ctx context.Context) error { return c.cfg.Store.Delete(ctx, at.name) })
	}
}

// encodeHolder writes what of a credential is not in the key of its role, after the format.
func encodeHolder(by driverfactory.PoolKey) []byte {
	b := appendText(appendText([]byte{format}, by.Principal.Realm), by.Principal.Subject)
	return fmt.Append(b, by.Epoch)
}

// decodeHolder reads what encodeHolder wrote of a credential whose key is role without its person.
func decodeHolder(b []byte, role driverfactory.PoolKey) (by driverfactory.PoolKey, err error) {
	r := reader{rest: b}
	if got := r.bytes(1); r.failed || got[0] != format {
		return by, errors.New("the holder is of another format")
	}
	by = role
	by.Principal = driverfactory.Principal{Realm: r.text(), Subject: r.text()}
	if r.failed {
		return by, errors.New("the holder breaks off")
	}
	_, err = fmt.Sscan(string(r.rest), &by.Epoch)
	return by, err
}
