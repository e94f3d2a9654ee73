package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
)

// Domains keeps domains: a domains.Store.
type Domains struct{ db *DB }

var _ domains.Store = (*Domains)(nil)

// domainRow is a domain as its table holds it.
type domainRow struct {
	ID        string `db:"id"`
	Name      string `db:"name"`
	CreatedAt int64  `db:"created_at"`
	Rev       int64  `db:"rev"`
}

func (row domainRow) domain() domains.Domain {
	return domains.Domain{ID: row.ID, Name: row.Name, CreatedAt: moment(row.CreatedAt), Rev: row.Rev}
}

// GetDomain implements domains.Store.
func (s *Domains) GetDomain(ctx context.Context, ref string) (domains.Domain, error) {
	query := "SELECT id, name, created_at, rev FROM domains WHERE name = ?"
	if strings.HasPrefix(ref, string(id.Domain)+"_") {
		query = "SELECT id, name, created_at, rev FROM domains WHERE id = ?"
	}
	var row domainRow
	err := s.db.read(ctx, "read a domain", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, query, ref)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "There is no such domain.")
		}
		return err
	})
	return row.domain(), err
}

// ListDomains implements domains.Store.
func (s *Domains) ListDomains(ctx context.Context) ([]domains.Domain, error) {
	var rows []domainRow
	err := s.db.read(ctx, "list domains", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT id, name, created_at, rev FROM domains ORDER BY name")
	})
	if err != nil {
		return nil, err
	}
	all := make([]domains.Domain, len(rows))
	for i, row := range rows {
		all[i] = row.domain()
	}
	return all, nil
}
