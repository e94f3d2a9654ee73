package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
	"github.com/behalf-project/behalf/internal/mail"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/webhook"
)

// Receiver is a program that gets events.
type Receiver struct {
	URL     secret.Text   // may hold a secret of the receiver's
	Secrets []secret.Text // whsec_…; several while one replaces another
	Kinds   []Kind        // empty: all
}

// Name is what the receiver is called in the log of deliveries: its host, and enough of a hash of its URL to tell two
// of one host apart.
func (r Receiver) Name() string {
	host := "webhook"
	if u, err := url.Parse(r.URL.Reveal()); err == nil && u.Host != "" {
		host = u.Host
	}
	return host + "#" + r.URL.Hash()[:8]
}

// Config is what a Dispatcher needs. Store is required.
type Config struct {
	Store    Store
	Webhooks []Receiver
	Sender   *webhook.Sender // required with Webhooks

	Mailer mail.Mailer // nil: nobody is written to
	// Address returns where a person, as events name them, is written to. It is fault.NotFound for who has no address.
	// Required with Mailer.
	Address func(ctx context.Context, person string) (string, error)
	// Admins returns the people who are told about apps and keys. Required with Mailer.
	Admins func(ctx context.Context) ([]string, error)

	PublicURL string            // where links in letters begin
	Wake      func(kind string) // begins the jobs of a kind now; default: they begin within a second
	Log       *zap.Logger       // default: no logging
	Now       func() time.Time  // default: time.Now
}

// Dispatcher brings events to whom they concern. Run finds who that is; the jobs of Kinds deliver.
type Dispatcher struct {
	cfg   Config
	names map[string]Receiver // by ByWebhook + Name
}

// NewDispatcher returns a Dispatcher over cfg. It starts nothing; see Run.
func NewDispatcher(cfg Config) *Dispatcher {
	if cfg.Wake == nil {
		cfg.Wake = func(string) {}
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Dispatcher{cfg: cfg, names: map[string]Receiver{}}
	for _, r := range cfg.Webhooks {
		d.names[ByWebhook+r.Name()] = r
	}
	return d
}

const (
	lookEvery = time.Second         // for new events
	keep90    = 90 * 24 * time.Hour // events and their deliveries
	collect   = 10 * time.Minute    // how long a letter waits for more to say
	digest    = 24 * time.Hour      // between two letters to one person
)

// Run dispatches events as they come, until ctx is done; then it returns nil. Several processes may do so: each event is
// dispatched once.
func (d *Dispatcher) Run(ctx context.Context) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	tidy := time.NewTicker(time.Hour)
	defer tidy.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			if err := d.dispatchAll(ctx); err != nil && ctx.Err() == nil {
				d.cfg.Log.Warn("events not dispatched; they are tried again", zap.Error(err))
			}
		case <-tidy.C:
			if err := d.cfg.Store.ForgetEvents(ctx, d.cfg.Now().Add(-keep90)); err != nil && ctx.Err() == nil {
				d.cfg.Log.Warn("old events not removed", zap.Error(err))
			}
		}
	}
}

func (d *Dispatcher) dispatchAll(ctx context.Context) error {
	for {
		const some = 200
		events, err := d.cfg.Store.Undispatched(ctx, some)
		if err != nil {
			return err
		}
		for _, e := range events {
			deliveries, err := d.deliveries(ctx, e)
			if err != nil {
				return err
			}
			if err := d.cfg.Store.Dispatch(ctx, e.ID, deliveries); err != nil && !errors.Is(err, fault.Conflict) {
				return err
			}
		}
		if len(events) > 0 {
			d.cfg.Wake(WebhookJob)
			d.cfg.Wake(MailJob)
		}
		if len(events) < some {
			return nil
		}
	}
}

// deliveries says whom e concerns.
func (d *Dispatcher) deliveries(ctx context.Context, e Event) ([]Delivery, error) {
	now := d.cfg.Now().UTC()
	var all []Delivery
	add := func(receiver string, due time.Time) {
		all = append(all, Delivery{ID: id.New(id.Delivery, now), EventID: e.ID, Kind: e.Kind, Receiver: receiver, State: Pending, At: now, NextAt: due})
	}
	for _, r := range d.cfg.Webhooks {
		if len(r.Kinds) == 0 || slices.Contains(r.Kinds, e.Kind) {
			add(ByWebhook+r.Name(), now)
		}
	}
	if d.cfg.Mailer == nil {
		return all, nil
	}
	people, err := d.readers(ctx, e)
	if err != nil {
		return nil, err
	}
	for _, person := range people {
		last, err := d.cfg.Store.LastMail(ctx, person)
		if err != nil {
			return nil, err
		}
		due := now.Add(collect)
		if !last.IsZero() && due.Before(last.Add(digest)) {
			due = last.Add(digest)
		}
		add(ByMail+person, due)
	}
	return all, nil
}

// readers are the people who are written to about e. What somebody did themselves they know.
func (d *Dispatcher) readers(ctx context.Context, e Event) ([]string, error) {
	var people []string
	if e.Person != "" {
		switch e.Kind {
		case Expiring, Expired, NeedsConsent, UnusualUse:
			people = append(people, e.Person)
		case Revoked:
			if e.Detail["reason"] != "person" {
				people = append(people, e.Person)
			}
		}
	}
	switch e.Kind {
	case AppBroken, KeyRotated, UnusualUse:
		admins, err := d.cfg.Admins(ctx)
		if err != nil {
			return nil, err
		}
		people = append(people, admins...)
	}
	slices.Sort(people)
	return slices.Compact(people), nil
}

// Kinds returns the work of delivering.
func (d *Dispatcher) Kinds() []jobs.Kind {
	return []jobs.Kind{
		{Name: WebhookJob, Handle: d.sendWebhook, Concurrency: 8, PerLane: 2, BackOff: func(n int) time.Duration {
			wait, _ := webhook.Again(n, &webhook.Refusal{})
			return wait
		}},
		{Name: MailJob, Handle: d.sendMail, Concurrency: 2, MaxAttempts: 30},
	}
}

// Deliveries returns the last limit deliveries before the one with this id, or the last ones, newest first.
func (d *Dispatcher) Deliveries(ctx context.Context, before string, limit int) ([]Delivery, error) {
	return d.cfg.Store.Deliveries(ctx, before, limit)
}

// Replay makes a delivery again, to the same receiver, and returns the new one. The message has the same webhook-id, so
// that a receiver which had it knows. actor is the id of the admin.
func (d *Dispatcher) Replay(ctx context.Context, deliveryID, actor string) (Delivery, error) {
	again, err := d.cfg.Store.Replay(ctx, deliveryID, d.cfg.Now().UTC(), audit.Entry{
		Actor: actor, Action: audit.DeliveryReplayed, Outcome: "ok", Request: audit.RequestID(ctx), Detail: map[string]string{"of": deliveryID},
	})
	d.cfg.Wake(WebhookJob)
	return again, err
}

// sendWebhook makes one try of one delivery.
func (d *Dispatcher) sendWebhook(ctx context.Context, j jobs.Job) error {
	var deliveryID string
	if err := json.Unmarshal(j.Payload, &deliveryID); err != nil {
		return jobs.GiveUp(err)
	}
	delivery, e, err := d.cfg.Store.Delivery(ctx, deliveryID)
	if errors.Is(err, fault.NotFound) {
		return nil // it was forgotten
	}
	if err != nil {
		return err
	}
	body, err := e.Body(d.cfg.PublicURL)
	if err != nil {
		return jobs.GiveUp(err)
	}
	refusal := &webhook.Refusal{Code: "receiver_gone", Final: true} // the configuration names it no more
	if r, ok := d.names[delivery.Receiver]; ok {
		refusal = nil
		if err := d.cfg.Sender.Send(ctx, r.URL.Reveal(), r.Secrets, webhook.Message{ID: e.ID, Body: body}); err != nil {
			if refusal, ok = errors.AsType[*webhook.Refusal](err); !ok {
				return err
			}
		}
	}
	now := d.cfg.Now().UTC()
	delivery.Attempts, delivery.TriedAt, delivery.NextAt, delivery.Status, delivery.Code = j.Attempts, now, time.Time{}, 0, ""
	if refusal == nil {
		delivery.State = Delivered
		return d.cfg.Store.Attempted(ctx, delivery)
	}
	delivery.Status, delivery.Code = refusal.Status, refusal.Code
	wait, again := webhook.Again(j.Attempts, refusal)
	if again {
		delivery.NextAt = now.Add(wait)
	} else {
		delivery.State = Failed
	}
	if err := d.cfg.Store.Attempted(ctx, delivery); err != nil {
		return err
	}
	failed := &fault.Error{Kind: fault.Unavailable, Code: refusal.Code, Detail: "A webhook was not taken.", RetryAfter: refusal.RetryAfter}
	if !again {
		return jobs.GiveUp(failed)
	}
	return failed
}

// Body is the message that a webhook carries.
func (e Event) Body(publicURL string) ([]byte, error) {
	data := map[string]string{"detail": e.Sentence()}
	for k, v := range e.Detail {
		data[k] = v
	}
	for k, v := range map[string]string{"id": e.Object, "person": e.Person, "oauth_app": e.App} {
		if v != "" {
			data[k] = v
		}
	}
	if link := e.link(publicURL); link != "" {
		data["url"] = link
	}
	return json.Marshal(struct {
		Type      Kind              `json:"type"`
		Timestamp time.Time         `json:"timestamp"`
		Data      map[string]string `json:"data"`
	}{e.Kind, e.At.UTC(), data})
}

// link is where somebody does something about e.
func (e Event) link(publicURL string) string {
	switch e.Kind {
	case Expiring, Expired, NeedsConsent, Revoked:
		return publicURL + "/connect/" + e.App
	case RefreshFailed, Connected:
		return publicURL + "/connected-apps"
	case AppBroken:
		return publicURL + "/oauth-apps"
	}
	return ""
}

// renew is what a person does about an access that ends.
func (e Event) renew() string {
	if e.Detail["renewed_by"] == "token_exchange" {
		return "Exchange a token for it again"
	}
	return "Reauthorize it"
}

// Sentence says what happened, to anybody.
func (e Event) Sentence() string {
	switch e.Kind {
	case Connected:
		return fmt.Sprintf("%s was connected.", e.App)
	case Expiring:
		switch e.Detail["reason"] {
		case "unused":
			return fmt.Sprintf("The access to %s has not been used since %s.", e.App, e.Detail["since"])
		case "dormant":
			return fmt.Sprintf("The access to %s has not been used since %s and will be disconnected on %s.", e.App, e.Detail["since"], e.Detail["by"])
		}
		return fmt.Sprintf("The access to %s ends on %s. %s before.", e.App, e.Detail["by"], e.renew())
	case Expired:
		return fmt.Sprintf("The access to %s has ended. %s to go on.", e.App, e.renew())
	case Revoked:
		switch e.Detail["reason"] {
		case "person":
			return fmt.Sprintf("%s was disconnected by the person.", e.App)
		case "dormant":
			return fmt.Sprintf("%s was disconnected, because it had not been used for long. Connect it again when it is needed.", e.App)
		case "provider":
			return fmt.Sprintf("%s no longer accepts the access that was given. Reauthorize it to go on.", e.App)
		case "unknown_outcome":
			return fmt.Sprintf("The access to %s was lost when an answer of the provider did not arrive. Reauthorize it to go on.", e.App)
		}
		return fmt.Sprintf("An admin ended the access to %s.", e.App)
	case RefreshFailed:
		return fmt.Sprintf("The access to %s could not be renewed. It is tried again by itself.", e.App)
	case NeedsConsent:
		return fmt.Sprintf("An admin added scopes to %s. Approve them; current access works meanwhile.", e.App)
	case AppBroken:
		return fmt.Sprintf("The provider rejects the credentials of the OAuth app %s. Only an admin can fix this.", e.App)
	case KeyRotated:
		return "The key that seals secrets was rotated."
	case UnusualUse:
		switch e.Detail["reason"] {
		case "far_above_norm":
			return fmt.Sprintf("Tokens of %s are handed out far more often than usual: %s times in an hour.", e.App, e.Detail["rate"])
		case "new_network":
			return fmt.Sprintf("A token of %s was handed out to an address that was not seen before: %s.", e.App, e.Detail["address"])
		}
		return fmt.Sprintf("A token of %s was handed out after a long silence.", e.App)
	}
	return string(e.Kind)
}

// sendMail writes to one person about everything that waits for them.
func (d *Dispatcher) sendMail(ctx context.Context, j jobs.Job) error {
	var person string
	if err := json.Unmarshal(j.Payload, &person); err != nil {
		return jobs.GiveUp(err)
	}
	deliveries, events, err := d.cfg.Store.PendingMail(ctx, person)
	if err != nil || len(deliveries) == 0 {
		return err
	}
	now := d.cfg.Now().UTC()
	mark := func(state State, code string) error {
		for i := range deliveries {
			deliveries[i].State, deliveries[i].Code, deliveries[i].Attempts, deliveries[i].TriedAt, deliveries[i].NextAt = state, code, j.Attempts, now, time.Time{}
		}
		return d.cfg.Store.Attempted(ctx, deliveries...)
	}
	if d.cfg.Mailer == nil {
		return mark(Failed, "mail_is_off")
	}
	to, err := d.cfg.Address(ctx, person)
	if errors.Is(err, fault.NotFound) {
		return mark(Failed, "no_address")
	}
	if err != nil {
		return err
	}
	if err := d.cfg.Mailer.Send(ctx, letter(to, events, d.cfg.PublicURL)); err != nil {
		if j.Attempts >= 30 {
			return errors.Join(mark(Failed, "mail_server"), jobs.GiveUp(err))
		}
		return errors.Join(mark(Pending, "mail_server"), err)
	}
	return mark(Delivered, "")
}

// letter is a digest of events for one person, with one link each.
func letter(to string, events []Event, publicURL string) mail.Message {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s\n", e.Sentence())
		if link := e.link(publicURL); link != "" {
			fmt.Fprintf(&b, "%s\n", link)
		}
		fmt.Fprintf(&b, "(%s)\n\n", e.At.UTC().Format("2 Jan 2006 15:04 MST"))
	}
	fmt.Fprintf(&b, "-- \nBehalf, %s\nYou get at most one such letter a day.\n", publicURL)
	subject := events[0].Sentence()
	if len(events) > 1 {
		subject = fmt.Sprintf("Behalf: %d notices about your connected apps", len(events))
	}
	return mail.Message{To: to, Subject: subject, Text: b.String()}
}
