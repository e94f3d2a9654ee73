package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/users"
)

// Users keeps people: a users.Store.
type Users struct{ db *DB }

var _ users.Store = (*Users)(nil)

// userRow is a person as their table holds them.
type userRow struct {
	ID        string `db:"id"`
	Username  string `db:"username"`
	Email     string `db:"email"`
	Roles     list   `db:"roles"`
	Password  string `db:"password"`
	Disabled  bool   `db:"disabled"`
	Origin    string `db:"origin"`
	CreatedAt int64  `db:"created_at"`
	UpdatedAt int64  `db:"updated_at"`
	Rev       int64  `db:"rev"`
}

const userColumns = "id, username, email, roles, password, disabled, origin, created_at, updated_at, rev"

// toUserRow returns u as a row. The password is a hash and rests as it is.
func toUserRow(u users.User) userRow {
	row := userRow{
		ID: u.ID, Username: u.Username, Email: u.Email, Password: u.Password.Reveal(), Disabled: u.Disabled,
		Origin: u.Origin, CreatedAt: millis(u.CreatedAt), UpdatedAt: millis(u.UpdatedAt), Rev: u.Rev,
	}
	for _, r := range u.Roles {
		row.Roles = append(row.Roles, string(r))
	}
	return row
}

// user returns the person of row.
func (row userRow) user() users.User {
	u := users.User{
		ID: row.ID, Username: row.Username, Email: row.Email, Password: secret.New(row.Password), Disabled: row.Disabled,
		Origin: row.Origin, CreatedAt: moment(row.CreatedAt), UpdatedAt: moment(row.UpdatedAt), Rev: row.Rev,
	}
	for _, r := range row.Roles {
		u.Roles = append(u.Roles, users.Role(r))
	}
	return u
}

var errNoUser = fault.New(fault.NotFound, "There is no such person.")

// GetUser implements users.Store.
func (s *Users) GetUser(ctx context.Context, id string) (users.User, error) {
	return s.one(ctx, "SELECT "+userColumns+" FROM users WHERE id = ?", id)
}

// FindUser implements users.Store. Nobody has a name that cannot be stored.
func (s *Users) FindUser(ctx context.Context, login string) (users.User, error) {
	if checkText([]any{login}) != nil {
		return users.User{}, errNoUser
	}
	return s.one(ctx, "SELECT "+userColumns+" FROM users WHERE id = (SELECT user_id FROM user_logins WHERE login = ?)", strings.ToLower(login))
}

// one returns the person that query finds by key, or errNoUser.
func (s *Users) one(ctx context.Context, query, key string) (users.User, error) {
	var row userRow
	err := s.db.read(ctx, "read a user", func(ctx context.Context, c conn) error {
		err := c.get(ctx, &row, query, key)
		if errors.Is(err, sql.ErrNoRows) {
			return errNoUser
		}
		return err
	})
	return row.user(), err
}

// ListUsers implements users.Store.
func (s *Users) ListUsers(ctx context.Context) ([]users.User, error) {
	var rows []userRow
	err := s.db.read(ctx, "list users", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+userColumns+" FROM users ORDER BY username")
	})
	if err != nil {
		return nil, err
	}
	people := make([]users.User, len(rows))
	for i, row := range rows {
		people[i] = row.user()
	}
	return people, nil
}

// PutUser implements users.Store.
func (s *Users) PutUser(ctx context.Context, u users.User, ends users.Ending, e audit.Entry) (users.User, error) {
	if u.Username == "" {
		return users.User{}, fault.New(fault.Invalid, "A person needs a username.")
	}
	if err := checkText([]any{u.Username}); err != nil { // folding would hide it
		return users.User{}, err
	}
	now := s.db.now()
	u.Username, u.UpdatedAt = strings.ToLower(u.Username), orElse(u.UpdatedAt, now)
	var row userRow
	err := s.db.write(ctx, "store a user", func(ctx context.Context, c conn) error {
		var err error
		if row, err = putUser(ctx, c, u, now); err != nil {
			return err
		}
		// Names are claimed in a table of their own, where a username can also not be somebody else's address.
		if _, err := c.exec(ctx, "DELETE FROM user_logins WHERE user_id = ?", row.ID); err != nil {
			return err
		}
		logins := []string{row.Username}
		if email := strings.ToLower(row.Email); email != "" && email != row.Username {
			logins = append(logins, email)
		}
		for _, login := range logins {
			if _, err := c.exec(ctx, "INSERT INTO user_logins (login, user_id) VALUES (?, ?)", login, row.ID); err != nil {
				return err
			}
		}
		news := notify.News{Topic: notify.UserChanged, Principal: row.user().Principal().Key(), Revoked: row.Disabled}
		if err := c.announce(ctx, news); err != nil {
			return err
		}
		if err := s.db.record(ctx, c, e, row.ID); err != nil {
			return err
		}
		if row.Disabled {
			ends = users.Ending{Sessions: true, Tokens: true, Reason: cmp.Or(ends.Reason, "person disabled")}
		}
		return s.end(ctx, c, row.ID, ends, now, e)
	})
	if s.db.dialect.classify(err) == notUnique {
		return users.User{}, &fault.Error{Kind: fault.Conflict, Code: "login_taken", Detail: "Somebody else has this username or e-mail address.", Owner: fault.Admin, Err: err}
	}
	return row.user(), err
}

// end ends what ends with a change of a person, which e records. The news of the person tells of it.
func (s *Users) end(ctx context.Context, c conn, userID string, ends users.Ending, at time.Time, e audit.Entry) error {
	each := audit.Entry{At: e.At, Actor: e.Actor, Outcome: "ok", Request: e.Request, Detail: map[string]string{"reason": ends.Reason}}
	if ends.Sessions {
		each.Action = audit.SignedOut
		if err := s.db.revokeSessions(ctx, c, userID, "", ends.Reason, at, each); err != nil {
			return err
		}
	}
	if !ends.Tokens {
		return nil
	}
	if _, err := c.exec(ctx, "DELETE FROM authorization_codes WHERE user_id = ?", userID); err != nil {
		return err
	}
	if _, err := c.exec(ctx, "UPDATE device_authorizations SET allowed = FALSE WHERE user_id = ? AND taken_at = 0", userID); err != nil {
		return err
	}
	over, err := endTokens(ctx, c, ends.Reason, at, "user_id = ?", userID)
	if err != nil {
		return err
	}
	each.Action = audit.TokenRevoked
	for _, token := range over {
		if err := s.db.record(ctx, c, each, token); err != nil {
			return err
		}
	}
	return nil
}

// putUser inserts or updates the row of u, and returns it.
func putUser(ctx context.Context, c conn, u users.User, now time.Time) (userRow, error) {
	if u.ID == "" {
		u.ID, u.CreatedAt, u.Rev = id.New(id.User, now), orElse(u.CreatedAt, now), 1
		row := toUserRow(u)
		_, err := c.execNamed(ctx, `INSERT INTO users (`+userColumns+`) VALUES (:id, :username, :email, :roles, :password,
			:disabled, :origin, :created_at, :updated_at, :rev)`, row)
		return row, err
	}
	var row userRow
	err := c.getNamed(ctx, &row, `UPDATE users SET username = :username, email = :email, roles = :roles, password = :password,
		disabled = :disabled, origin = :origin, updated_at = :updated_at, rev = rev + 1 WHERE id = :id AND rev = :rev
		RETURNING `+userColumns, toUserRow(u))
	if !errors.Is(err, sql.ErrNoRows) {
		return row, err
	}
	var exists bool
	if err := c.get(ctx, &exists, "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?)", u.ID); err != nil {
		return row, err
	}
	if !exists {
		return row, errNoUser
	}
	return row, fault.New(fault.Conflict, "%s changed meanwhile. Load them again.", u.Username)
}
