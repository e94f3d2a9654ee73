package drivertest

import (
	"context"
	"sync"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

// Grants is a driverfactory.Credentials with one grant, which its owner sets. It is safe for concurrent use.
type Grants struct {
	mu        sync.Mutex
	tok       driverfactory.Token
	refusal   error
	onRefused func(driverfactory.Token) (driverfactory.Token, error)
	calls     int
}

// NewGrants returns Grants of somebody who never connected.
func NewGrants() *Grants {
	return &Grants{refusal: fault.New(fault.AuthorizationRequired, "connect first")}
}

// Set replaces the token.
func (g *Grants) Set(tok driverfactory.Token) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tok, g.refusal = tok, nil
}

// Refuse makes Token answer err from now on.
func (g *Grants) Refuse(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusal = err
}

// OnRefused sets what a forced refresh brings. It is called once per refused token, as the contract says.
func (g *Grants) OnRefused(f func(old driverfactory.Token) (driverfactory.Token, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onRefused = f
}

// RefusedCalls returns how many forced refreshes there were.
func (g *Grants) RefusedCalls() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// Token implements driverfactory.Credentials.
func (g *Grants) Token(context.Context, driverfactory.Principal, string) (driverfactory.Token, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tok, g.refusal
}

// Refused implements driverfactory.Credentials.
func (g *Grants) Refused(_ context.Context, _ driverfactory.Principal, _ string, tok driverfactory.Token) (driverfactory.Token, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusal != nil {
		return driverfactory.Token{}, g.refusal
	}
	if g.tok.Revision != tok.Revision || g.tok.Epoch != tok.Epoch {
		return g.tok, nil // somebody else has refreshed it
	}
	g.calls++
	if g.onRefused == nil {
		return driverfactory.Token{}, fault.New(fault.ReauthorizationRequired, "the grant has ended")
	}
	next, err := g.onRefused(tok)
	if err != nil {
		g.refusal = err
		return driverfactory.Token{}, err
	}
	g.tok = next
	return next, nil
}
