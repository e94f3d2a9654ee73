package users

import (
	"context"
	"strings"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// Nobody reports whether this server has no people yet, so that its first admin may be made.
func (s *Service) Nobody(ctx context.Context) (bool, error) {
	all, err := s.cfg.Store.ListUsers(ctx)
	return len(all) == 0, err
}

// First makes the first person of this server, an admin. It fails with fault.Gone once there is anybody, and with
// fault.Invalid for a username or password that will not do. Whoever calls it has shown that the server is theirs.
func (s *Service) First(ctx context.Context, username string, password secret.Text) (User, error) {
	s.first.Lock() // two requests at once must not make two
	defer s.first.Unlock()
	nobody, err := s.Nobody(ctx)
	if err != nil {
		return User{}, err
	}
	if !nobody {
		return User{}, fault.New(fault.Gone, "This server has people already. Sign in, or ask an admin.")
	}
	username = strings.ToLower(strings.TrimSpace(username))
	if !usernames.MatchString(username) {
		return User{}, fault.New(fault.Invalid, "A username begins with a letter and has letters, digits, and . _ - @ only, at most 63.")
	}
	hash, err := s.Hash(ctx, password)
	if err != nil {
		return User{}, err
	}
	now := s.cfg.Now().UTC()
	return s.cfg.Store.PutUser(ctx, User{
		Username: username, Roles: []Role{Admin}, Password: hash, Origin: FromAPI, CreatedAt: now, UpdatedAt: now,
	}, Ending{}, s.entry(ctx, "setup", audit.UserDeclared, ""))
}
