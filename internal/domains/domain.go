// Package domains owns the workspaces of this server.
//
// A domain owns data sources, OAuth apps, models and protected apps (design.md §2.9). Every server has the default
// domain from its first migration on: it serves the Cube paths that name none.
package domains

import (
	"context"
	"time"
)

// The default domain. Its id is the same on every server, so that configuration and tests may name it.
const (
	DefaultID   = "dom_00000000000000000000000000"
	DefaultName = "default"
)

// Domain is one workspace.
type Domain struct {
	ID        string // dom_…
	Name      string // in paths; unique
	CreatedAt time.Time
	Rev       int64
}

// Store reads domains.
type Store interface {
	// GetDomain returns the domain with this id or, when id has no prefix "dom_", with this name; or fault.NotFound.
	GetDomain(ctx context.Context, id string) (Domain, error)

	// ListDomains returns all domains, ordered by name.
	ListDomains(ctx context.Context) ([]Domain, error)
}
