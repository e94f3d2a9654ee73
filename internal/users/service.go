package users

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
)

// Where a person was made.
const (
	FromFile = "file" // declared in the configuration; read-only elsewhere
	FromAPI  = "api"
)

// fresh is how long somebody is answered from memory without news of them: the time in which a change made by
// another process must count (design.md P4).
const fresh = time.Second

// remembered is how many people are kept in memory.
const remembered = 10_000

// Config is what a Service needs. Store is required.
type Config struct {
	Store Store
	Bus   *notify.Bus // brings UserChanged: the store's; without it a change counts within a second

	// Record records a refused sign-in. Default: nothing is recorded.
	Record func(ctx context.Context, e audit.Entry) error

	Stale time.Duration // how long somebody in memory is believed while the store does not answer (design.md §2.16); default 60 s

	Params Params           // of new hashes; below Floor is raised to it
	Log    *zap.Logger      // default: no logging
	Now    func() time.Time // default: time.Now
}

// Service knows people and their passwords. It is safe for concurrent use.
type Service struct {
	cfg      Config
	hasher   *hasher
	throttle *throttle
	people   *lru.Cache[string, seen]
	changes  atomic.Int64 // news heard, so that a person read before it is not kept after it
	first    sync.Mutex   // held while the first person is made
}

// seen is a person as the store had them at one moment.
type seen struct {
	user User
	at   time.Time
}

// New returns a Service over cfg. It starts nothing.
func New(cfg Config) *Service {
	cfg.Params = Params{max(cfg.Params.Memory, Floor.Memory), max(cfg.Params.Time, Floor.Time), max(cfg.Params.Threads, Floor.Threads)}
	if cfg.Bus == nil {
		cfg.Bus = &notify.Bus{}
	}
	if cfg.Record == nil {
		cfg.Record = func(context.Context, audit.Entry) error { return nil }
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Stale == 0 {
		cfg.Stale = time.Minute
	}
	people, _ := lru.New[string, seen](remembered) // fails for a size below one only
	s := &Service{cfg: cfg, hasher: newHasher(cfg.Params), throttle: newThrottle(cfg.Now), people: people}
	cfg.Bus.Subscribe(s.hear) // for as long as the bus lives, as the Service does
	return s
}

// hear forgets who changed. News does not say under which names somebody is kept, so all go: it is rare.
func (s *Service) hear(n notify.News) {
	if n.Topic == notify.UserChanged || n.Topic == notify.Everything {
		s.changes.Add(1)
		s.people.Purge()
	}
}

// ByID returns the person with this id, disabled or not, or fault.NotFound. It answers from memory for up to a second, and
// for Config.Stale while the store does not answer.
func (s *Service) ByID(ctx context.Context, id string) (User, error) {
	return s.remember(id, func() (User, error) { return s.cfg.Store.GetUser(ctx, id) })
}

// ByUsername returns the person with exactly this username, disabled or not, or fault.NotFound. It is for the
// cubeCloud.username of a JWT (design.md §2.2), which never means an e-mail address.
func (s *Service) ByUsername(ctx context.Context, username string) (User, error) {
	return s.remember("@"+username, func() (User, error) {
		u, err := s.cfg.Store.FindUser(ctx, username)
		if err == nil && u.Username != username {
			return User{}, fault.New(fault.NotFound, "There is nobody with this username.")
		}
		return u, err
	})
}

func (s *Service) remember(key string, read func() (User, error)) (User, error) {
	now := s.cfg.Now()
	before := s.changes.Load()
	held, ok := s.people.Get(key)
	if ok && now.Sub(held.at) < fresh {
		return held.user, nil
	}
	u, err := read()
	if err != nil {
		if ok && now.Sub(held.at) < s.cfg.Stale && errors.Is(err, fault.Unavailable) && s.changes.Load() == before {
			return held.user, nil
		}
		return User{}, err
	}
	s.people.Add(key, seen{u, now})
	if s.changes.Load() != before {
		s.people.Remove(key) // it changed while it was read
	}
	return u, nil
}

// errCredentials is the one answer to a name or password that is wrong, whichever it was and whoever it is.
func errCredentials() error {
	return &fault.Error{Kind: fault.Unauthenticated, Code: "invalid_credentials", Owner: fault.User,
		Detail: "The username or password is not right."}
}

// Authenticate returns the person with this username or e-mail address if password is theirs. Everything else is
// fault.Unauthenticated with code invalid_credentials, after the same work: an unknown name, a wrong password, a
// person without one, a disabled person. Too many failures are fault.TooMany.
func (s *Service) Authenticate(ctx context.Context, login string, password secret.Text, ip string) (User, error) {
	if len(login) > 254 {
		login = login[:254] // nobody's, and it is kept in memory
	}
	if err := s.throttle.begin(login, ip); err != nil {
		return User{}, err
	}
	u, err := s.cfg.Store.FindUser(ctx, accountKey(login))
	if err != nil && !errors.Is(err, fault.NotFound) {
		s.throttle.undecided(login, ip)
		return User{}, err
	}
	match, costs, err := s.hasher.verify(ctx, u.Password, password)
	if err != nil {
		s.throttle.undecided(login, ip)
		return User{}, err
	}
	if !match || u.Disabled {
		s.cfg.Log.Info("sign-in refused", audit.Request(ctx), zap.String("user_id", u.ID), zap.String("ip", ip))
		s.recordRefusal(ctx, u, ip)
		return User{}, errCredentials()
	}
	s.throttle.succeeded(login, ip)
	// The hash of a declared person belongs to the file: Declare makes a new one where it can.
	if u.Origin != FromFile && costs.weaker(s.cfg.Params) {
		u = s.rehash(ctx, u, password)
	}
	return u, nil
}

// recordRefusal records that somebody was not let in as u, the zero User when nobody has that name. The name itself is
// left out: people type passwords there.
func (s *Service) recordRefusal(ctx context.Context, u User, ip string) {
	e := s.entry(ctx, audit.Anonymous, audit.SignInRefused, u.ID)
	e.Outcome, e.Detail = "wrong_credentials", map[string]string{"ip": ip}
	if u.Disabled {
		e.Outcome = "user_disabled"
	}
	if err := s.cfg.Record(ctx, e); err != nil { // nobody was let in, so nothing has to be taken back
		s.cfg.Log.Warn("refused sign-in not recorded", zap.String("user_id", u.ID), zap.Error(err))
	}
}

// rehash stores the password of u with today's costs. Failing to is no reason to refuse somebody.
func (s *Service) rehash(ctx context.Context, u User, password secret.Text) User {
	hash, err := s.hasher.hash(ctx, password)
	if err == nil {
		next := u
		next.Password, next.UpdatedAt = hash, s.cfg.Now().UTC()
		if next, err = s.cfg.Store.PutUser(ctx, next, Ending{}, s.entry(ctx, u.ID, audit.PasswordRehashed, u.ID)); err == nil {
			return next
		}
	}
	s.cfg.Log.Warn("password not rehashed", zap.String("user_id", u.ID), zap.Error(err))
	return u
}

// Disable refuses a person from now on: their sessions and their tokens end, their queries are cut.
func (s *Service) Disable(ctx context.Context, id, actor string) error {
	for range 3 { // somebody else may write at the same time
		u, err := s.cfg.Store.GetUser(ctx, id)
		if err != nil || u.Disabled {
			return err
		}
		u.Disabled, u.UpdatedAt = true, s.cfg.Now().UTC()
		ends := Ending{Sessions: true, Tokens: true, Reason: "person disabled"}
		if _, err = s.cfg.Store.PutUser(ctx, u, ends, s.entry(ctx, actor, audit.UserDisabled, id)); errors.Is(err, fault.Conflict) {
			continue
		}
		return err
	}
	return fault.New(fault.Conflict, "The person changed at the same time. Try again.")
}

func (s *Service) entry(ctx context.Context, actor string, action audit.Action, object string) audit.Entry {
	return audit.Entry{At: s.cfg.Now().UTC(), Actor: actor, Action: action, Object: object, Outcome: "ok", Request: audit.RequestID(ctx)}
}

// Declared is a person of the configuration file.
type Declared struct {
	Username string
	Email    string
	Roles    []Role
	Password secret.Text // a PHC string, or the password itself where it came from {env:} or {file:}; empty: none
}

// usernames is what a username looks like: it may be the address people know, and is always lower case.
var usernames = regexp.MustCompile(`^[a-z][a-z0-9._@-]{0,62}$`)

// Declare makes the people of the configuration file be there as they are declared, and disables those who were
// declared before and are not any more. Mistakes are one fault.Invalid that lists them all, and then nothing changes.
func (s *Service) Declare(ctx context.Context, declared []Declared) error {
	all, err := s.cfg.Store.ListUsers(ctx)
	if err != nil {
		return err
	}
	if err := check(declared, all); err != nil {
		return err
	}
	stored := map[string]User{}
	for _, u := range all {
		stored[u.Username] = u
	}
	if err := s.release(ctx, declared, stored); err != nil {
		return err
	}
	for _, d := range declared {
		if err := s.declare(ctx, d, stored[d.Username]); err != nil {
			return fmt.Errorf("declare user %s: %w", d.Username, err)
		}
		delete(stored, d.Username)
	}
	for _, u := range stored {
		if u.Origin == FromFile && !u.Disabled {
			if err := s.Disable(ctx, u.ID, "config"); err != nil {
				return fmt.Errorf("disable user %s: %w", u.Username, err)
			}
		}
	}
	return nil
}

// release takes the e-mail address from who had it before, where the declaration gives it to somebody else: people
// are renamed, and addresses change hands, while a store lets nobody have the address of another.
func (s *Service) release(ctx context.Context, declared []Declared, stored map[string]User) error {
	wanted := map[string]string{}
	for _, d := range declared {
		wanted[strings.ToLower(d.Email)] = d.Username
	}
	for name, u := range stored {
		if by, ok := wanted[u.Email]; !ok || by == name || u.Email == "" {
			continue
		}
		u.Email, u.UpdatedAt = "", s.cfg.Now().UTC()
		u, err := s.cfg.Store.PutUser(ctx, u, Ending{}, s.entry(ctx, "config", audit.UserDeclared, u.ID))
		if err != nil {
			return fmt.Errorf("release the e-mail address of user %s: %w", name, err)
		}
		stored[name] = u
	}
	return nil
}

// declare makes one person be as declared. old is who they were, or the zero User. Another password is a reset by an
// admin: what the old one, or who stole it, began ends with it. Other roles are asked of whoever signs in again.
func (s *Service) declare(ctx context.Context, d Declared, old User) error {
	next := old
	next.Username, next.Email, next.Origin, next.Disabled = d.Username, strings.ToLower(d.Email), FromFile, false
	next.Roles = d.Roles
	passwordChanged := false
	switch given := d.Password.Reveal(); {
	case given == "":
		next.Password, passwordChanged = secret.Text{}, !old.Password.Empty()
	case strings.HasPrefix(given, "$"):
		next.Password, passwordChanged = d.Password, !old.Password.Equal(d.Password)
		if h, _ := parsePHC(given); h.params.weaker(Floor) {
			s.cfg.Log.Warn("the declared password hash is weak: make a new one", zap.String("username", d.Username))
		}
	default:
		var costs Params
		passwordChanged = true
		if !old.Password.Empty() {
			match, had, err := s.hasher.verify(ctx, old.Password, d.Password)
			if err != nil {
				return err
			}
			passwordChanged, costs = !match, had
		}
		if passwordChanged || costs.weaker(s.cfg.Params) {
			var err error
			if next.Password, err = s.hasher.hash(ctx, d.Password); err != nil {
				return err
			}
		}
	}
	rolesChanged := !slices.Equal(next.Roles, old.Roles)
	if old.ID != "" && !rolesChanged && next.Password.Equal(old.Password) && next.Email == old.Email && next.Origin == old.Origin && !old.Disabled {
		return nil
	}
	now := s.cfg.Now().UTC()
	next.UpdatedAt = now
	action := audit.UserDeclared
	if old.ID == "" {
		next.CreatedAt = now
	} else if old.Disabled {
		action = audit.UserEnabled
	}
	var ends Ending
	switch {
	case old.ID == "":
	case passwordChanged:
		ends = Ending{Sessions: true, Tokens: true, Reason: "password changed in the configuration"}
	case rolesChanged:
		ends = Ending{Sessions: true, Reason: "roles changed in the configuration"}
	}
	_, err := s.cfg.Store.PutUser(ctx, next, ends, s.entry(ctx, "config", action, old.ID))
	return err
}

// Check returns what is wrong with declared people by themselves, all of it, as Declare would refuse them: fault.Invalid
// with a Field for each mistake, whose Pointer is users.<username>.<field>.
func Check(declared []Declared) error { return check(declared, nil) }

// check returns what is wrong with the declared people, all of it. stored are the people there are.
func check(declared []Declared, stored []User) error {
	var wrong []fault.Field
	fail := func(d Declared, field, code, format string, args ...any) {
		wrong = append(wrong, fault.Field{Pointer: "users." + d.Username + "." + field, Code: code,
			Detail: fmt.Sprintf("User %q: ", d.Username) + fmt.Sprintf(format, args...)})
	}
	names := map[string]string{} // every name to sign in with, and whose it is
	ours := map[string]bool{}
	for _, d := range declared {
		ours[d.Username] = true
	}
	for _, u := range stored {
		if ours[u.Username] {
			continue
		}
		names[u.Username] = u.Username
		if u.Email != "" && u.Origin != FromFile { // who is gone from the file gives the address back
			names[u.Email] = u.Username
		}
	}
	gone := map[string]User{} // people who were taken out of the file, by username
	for _, u := range stored {
		if u.Disabled && u.Email != "" {
			gone[u.Username] = u
		}
	}
	for _, d := range declared {
		// A name that comes back with another address is another human, who must not find somebody's grants (OIDC Core
		// §5.7). The same address, or none, is the same one who returns.
		if u, ok := gone[d.Username]; ok && d.Email != "" && !strings.EqualFold(u.Email, d.Email) {
			fail(d, "username", "reused", "this username was %s's, who was taken out of the file. Choose another username: "+
				"names are not given to a second person.", u.Email)
		}
		if !usernames.MatchString(d.Username) {
			fail(d, "username", "invalid", "a username begins with a lower case letter and goes on with up to 62 of a-z, 0-9, dot, underscore, @ and hyphen.")
		}
		for _, name := range slices.Compact([]string{d.Username, strings.ToLower(d.Email)}) {
			if name == "" {
				continue
			}
			if whose, taken := names[name]; taken {
				fail(d, "username", "taken", "%q is already a name of %q.", name, whose)
			}
			names[name] = d.Username
		}
		if d.Email != "" {
			if a, err := mail.ParseAddress(d.Email); err != nil || a.Address != d.Email || displayname.Check(d.Email, 254) != nil || len(d.Email) > 254 {
				fail(d, "email", "invalid", "%q is not an e-mail address.", d.Email)
			}
		}
		for _, r := range d.Roles {
			if r != Admin {
				fail(d, "roles", "unknown", "there is no role %q; the only one is %q.", r, Admin)
			}
		}
		if given := d.Password.Reveal(); strings.HasPrefix(given, "$") {
			if _, err := parsePHC(given); err != nil {
				fail(d, "password", "invalid", "the password hash cannot be used: %s.", err)
			}
		} else if n := len(normalize(d.Password)); given != "" && (n < minPassword || n > maxPassword || len(given) > maxPassword) {
			fail(d, "password", "length", "the password must have %d to %d bytes.", minPassword, maxPassword)
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	e := &fault.Error{Kind: fault.Invalid, Owner: fault.Admin, Fields: wrong}
	for _, f := range wrong {
		e.Detail = strings.TrimSpace(e.Detail + "\n" + f.Detail)
	}
	return e
}

// Hash returns the PHC string of a password, for the configuration file.
func (s *Service) Hash(ctx context.Context, password secret.Text) (secret.Text, error) {
	if n := len(normalize(password)); n < minPassword || n > maxPassword {
		return secret.Text{}, fault.New(fault.Invalid, "The password must have %d to %d bytes.", minPassword, maxPassword)
	}
	return s.hasher.hash(ctx, password)
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
