package main

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/anomaly"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/loopback"
	"github.com/behalf-project/behalf/internal/mail"
	"github.com/behalf-project/behalf/internal/spelling"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/internal/webhook"
	"github.com/behalf-project/behalf/oauthapps"
)

// buildNotices makes what tells people and programs what happened, and what watches the hand-outs.
func (s *server) buildNotices() error {
	public, err := url.Parse(s.cfg.Server.PublicURL)
	if err != nil {
		return err
	}
	n := s.cfg.Notifications
	cfg := event.Config{
		Store: s.store.Events(), Sender: webhook.New(webhook.Config{AllowLoopback: loopback.Host(public.Hostname())}),
		Address: s.address, Admins: s.admins, PublicURL: s.cfg.Server.PublicURL, Wake: s.wake, Log: s.log.Named("notices"),
	}
	for _, w := range n.Webhooks {
		r := event.Receiver{URL: w.URL, Secrets: []config.Secret{w.Secret}}
		if !w.NextSecret.Empty() {
			r.Secrets = append(r.Secrets, w.NextSecret)
		}
		for _, kind := range w.Events {
			r.Kinds = append(r.Kinds, event.Kind(kind))
		}
		cfg.Webhooks = append(cfg.Webhooks, r)
	}
	if n.Email.Enabled {
		cfg.Mailer = mailer(s.cfg)
	}
	s.notices = event.NewDispatcher(cfg)
	s.handOuts = anomaly.New(anomaly.Config{Store: s.store.Baselines(), Record: s.audit.Record, Log: s.log.Named("anomaly")})
	return nil
}

// observe has a hand-out to somebody's program looked at.
func (s *server) observe(ctx context.Context, ask connectedapps.Ask, at time.Time) {
	s.handOuts.Observe(ctx, anomaly.HandOut{Token: ask.Caller, Principal: ask.Principal, App: ask.App, At: at, Address: ask.IP})
}

// mailer is who sends letters: the mail server or, in development without one, a folder. Nil: nobody.
func mailer(cfg config.Config) mail.Mailer {
	smtp := cfg.Auth.MagicLink.SMTP
	switch {
	case smtp.Host != "":
		return mailServer(smtp)
	case cfg.Server.DevMode:
		return mail.Folder{Dir: filepath.Join(filepath.Dir(cfg.Keys.Keyset.File), "mail")} // beside what else this server wrote
	}
	return nil
}

func mailServer(smtp config.SMTP) mail.SMTP {
	return mail.SMTP{Host: smtp.Host, Port: smtp.Port, From: smtp.From, TLS: mail.TLS(smtp.TLS), Username: smtp.Username, Password: smtp.Password}
}

// address is where a person of this server is written to.
func (s *server) address(ctx context.Context, person string) (string, error) {
	u, err := s.people.ByID(ctx, person)
	if err == nil && (u.Disabled || u.Email == "") {
		err = fault.New(fault.NotFound, "This person has no address.")
	}
	return u.Email, err
}

// admins are the people who can mend what is broken.
func (s *server) admins(ctx context.Context) ([]string, error) {
	all, err := s.store.Users().ListUsers(ctx)
	var ids []string
	for _, u := range all {
		if u.Has(users.Admin) && !u.Disabled {
			ids = append(ids, u.ID)
		}
	}
	return ids, err
}

// noticeProblems is what is wrong with the receivers of notices and the mail server.
func noticeProblems(cfg config.Config) (problems config.Errors) {
	place := func(p config.Position) string {
		if cfg.Path != "" && p.Line > 0 {
			return fmt.Sprintf("%s:%d:%d", cfg.Path, p.Line, p.Column)
		}
		return "notifications.webhooks"
	}
	var kinds []string
	for _, k := range event.Kinds() {
		kinds = append(kinds, string(k))
	}
	for _, w := range cfg.Notifications.Webhooks {
		fail := func(format string, args ...any) {
			problems = append(problems, config.Problem{Place: place(w.At), Message: fmt.Sprintf(format, args...)})
		}
		if err := oauthapps.CheckURL(w.URL.Reveal()); err != nil {
			fail("the url of a webhook %v", err)
		}
		if _, err := webhook.ParseSecret(w.Secret); err != nil {
			fail("the secret of a webhook: %v; openssl rand -base64 32 makes one", err)
		}
		if _, err := webhook.ParseSecret(w.NextSecret); err != nil && !w.NextSecret.Empty() {
			fail("the next_secret of a webhook: %v", err)
		}
		for _, name := range w.Events {
			if !slices.Contains(kinds, name) {
				near := spelling.DidYouMean(name, kinds)
				if near == "" {
					near = "; there are " + strings.Join(kinds, ", ")
				}
				fail("there is no event %q%s", name, near)
			}
		}
	}
	if smtp := cfg.Auth.MagicLink.SMTP; smtp.Host != "" && smtp.From != "" {
		if err := mailServer(smtp).Check(); err != nil {
			problems = append(problems, config.Problem{Place: "auth.magic_link.smtp", Message: err.Error()})
		}
	}
	return problems
}
