package sqlstore

import (
	"context"
	"database/sql"
	"errors"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

var _ connectedapps.RevocationStore = (*Grants)(nil)

// revocationRow is a revocation as its table holds it.
type revocationRow struct {
	ID         string `db:"id"`
	Realm      string `db:"realm"`
	Subject    string `db:"subject"`
	AppID      string `db:"app_id"`
	App        string `db:"app"`
	Everything bool   `db:"everything"`
	Reason     string `db:"reason"`
	Actor      string `db:"actor"`
	CreatedAt  int64  `db:"created_at"`
	People     int    `db:"people"`
	Grants     int    `db:"grants"`
	Queued     int    `db:"queued"`
}

const revocationColumns = "id, realm, subject, app_id, app, everything, reason, actor, created_at, people, grants, queued"

func (row revocationRow) revocation() connectedapps.Revocation {
	return connectedapps.Revocation{
		ID: row.ID, Scope: connectedapps.Scope{
			Principal: securitycontext.Principal{Realm: row.Realm, Subject: row.Subject}, AppID: row.AppID, Everything: row.Everything,
		},
		App: row.App, Reason: row.Reason, Actor: row.Actor, CreatedAt: moment(row.CreatedAt), People: row.People, Grants: row.Grants, Queued: row.Queued,
	}
}

// inScope is the condition on rows with realm, subject and app_id that a scope is.
func inScope(s connectedapps.Scope) (where string, args []any) {
	switch {
	case s.Everything:
		return "1 = 1", nil
	case s.AppID != "":
		return "app_id = ?", []any{s.AppID}
	}
	return "realm = ? AND subject = ?", []any{s.Principal.Realm, s.Principal.Subject}
}

// Affected implements connectedapps.RevocationStore.
func (s *Grants) Affected(ctx context.Context, scope connectedapps.Scope) (people, grants int, err error) {
	err = s.db.read(ctx, "count grants", func(ctx context.Context, c conn) error {
		people, grants, err = affected(ctx, c, scope)
		return err
	})
	return people, grants, err
}

func affected(ctx context.Context, c conn, scope connectedapps.Scope) (people, grants int, err error) {
	where, args := inScope(scope)
	var n struct {
		People int `db:"people"`
		Grants int `db:"grants"`
	}
	err = c.get(ctx, &n, `SELECT count(*) AS people, coalesce(sum(n), 0) AS grants FROM
		(SELECT count(*) AS n FROM grants WHERE `+where+` GROUP BY realm, subject) AS each_person`, args...)
	return n.People, n.Grants, err
}

// Revoke implements connectedapps.RevocationStore.
func (s *Grants) Revoke(ctx context.Context, r connectedapps.Revocation, confirmed int, follow connectedapps.Follow,
	act audit.Entry, record func(connectedapps.Grant) audit.Entry) (connectedapps.Revocation, error) {
	where, args := inScope(r.Scope)
	err := s.db.write(ctx, "revoke grants", func(ctx context.Context, c conn) error {
		// What was begun before must not bring back what ends now: see Connect.
		if _, err := c.exec(ctx, "DELETE FROM authorizations WHERE done_at = 0 AND "+where, args...); err != nil {
			return err
		}
		var rows []grantRow
		if err := c.all(ctx, &rows, "DELETE FROM grants WHERE "+where+" RETURNING "+grantColumns, args...); err != nil {
			return err
		}
		r.People, r.Grants, r.Queued = 0, len(rows), 0
		if confirmed >= 0 && confirmed != len(rows) {
			return &fault.Error{Kind: fault.Conflict, Code: "revocation_changed", Owner: fault.Admin,
				Detail: "There are other connections now than when you looked. Nothing has ended; look again and confirm what you see."}
		}
		var (
			people  = map[securitycontext.Principal]bool{}
			work    []jobs.Job
			news    = make([]notify.News, len(rows))
			entries = []audit.Entry{act}
		)
		for i, row := range rows {
			news[i] = row.news()
			news[i].Revoked = true
			g, err := s.openGrant(row)
			if err != nil { // it ends all the same; only its provider cannot be told
				s.db.log.Error("tokens of a revoked grant do not open: the provider is not told", zap.String("grant_id", row.ID), zap.Error(err))
				g = connectedapps.Grant{ID: row.ID, Key: connectedapps.Key{Principal: securitycontext.Principal{Realm: row.Realm, Subject: row.Subject}, AppID: row.AppID}}
			} else if j, ok := follow(g); ok {
				work = append(work, j)
			}
			people[g.Key.Principal] = true
			e := record(g)
			e.Object = g.ID
			entries = append(entries, e)
		}
		r.People, r.Queued = len(people), len(work)
		if err := s.db.addJobs(ctx, c, work...); err != nil {
			return err
		}
		_, err := insertAll(ctx, c, "revocations", revocationColumns, []revocationRow{{
			ID: r.ID, Realm: r.Scope.Principal.Realm, Subject: r.Scope.Principal.Subject, AppID: r.Scope.AppID, App: r.App,
			Everything: r.Scope.Everything, Reason: printable(r.Reason), Actor: r.Actor, CreatedAt: millis(r.CreatedAt),
			People: r.People, Grants: r.Grants, Queued: r.Queued,
		}}, "")
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := s.db.record(ctx, c, e, ""); err != nil {
				return err
			}
		}
		return c.announce(ctx, news...)
	})
	return r, err
}

// GetRevocation implements connectedapps.RevocationStore.
func (s *Grants) GetRevocation(ctx context.Context, id string) (connectedapps.Revocation, error) {
	var row revocationRow
	err := s.db.read(ctx, "read a revocation", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, "SELECT "+revocationColumns+" FROM revocations WHERE id = ?", id)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "There is no such revocation.")
		}
		return err
	})
	return row.revocation(), err
}

// ListRevocations implements connectedapps.RevocationStore.
func (s *Grants) ListRevocations(ctx context.Context, limit int) ([]connectedapps.Revocation, error) {
	var rows []revocationRow
	err := s.db.read(ctx, "list revocations", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+revocationColumns+" FROM revocations ORDER BY id DESC LIMIT ?", limit)
	})
	list := make([]connectedapps.Revocation, len(rows))
	for i, row := range rows {
		list[i] = row.revocation()
	}
	return list, err
}
