package sqlstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/notify"
)

// channel is where the processes that share a Postgres tell each other what they changed.
const channel = "behalf_news"

const (
	pingEvery   = time.Second     // how long Run's connection may be silent before it is tried
	pingTimeout = time.Second     // and how long it has to answer
	listenLimit = 5 * time.Second // to connect and begin to listen
	maxBackOff  = time.Second     // between two tries to connect
	maxNotice   = 7999            // bytes of a payload of NOTIFY
)

// listening is the topic of the notice by which a process finds out that what is announced reaches its listener. It is
// not published.
const listening notify.Topic = "listening"

// notice is news on the wire. It holds no secret: whoever may listen to the database can read it.
type notice struct {
	By        string       `json:"by"` // the process that announced it
	Topic     notify.Topic `json:"topic"`
	Principal string       `json:"principal,omitempty"`
	AppID     string       `json:"app_id,omitempty"`
	Epoch     int64        `json:"epoch,omitempty"`
	Revision  int64        `json:"revision,omitempty"`
	Replica   string       `json:"replica,omitempty"`
	Revoked   bool         `json:"revoked,omitempty"`
	Refused   bool         `json:"refused,omitempty"`
}

// payload returns n as NOTIFY carries it. News too long for that, of a person with a monstrous name, is told as
// Everything.
func (n notice) payload() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(n); err != nil {
		return "", fmt.Errorf("write a notice: %w", err)
	}
	if text := bytes.TrimSpace(b.Bytes()); len(text) <= maxNotice {
		return string(text), nil
	}
	return notice{By: n.By, Topic: notify.Everything}.payload()
}

// announced is what a transaction will have changed, by this process, once it commits.
type announced struct {
	by   string
	news []notify.News
}

// publish tells this process.
func (a *announced) publish(bus *notify.Bus) {
	for _, n := range a.news {
		bus.Publish(n)
	}
}

// announce tells everybody of all news if and when the transaction commits: other processes by NOTIFY, which Postgres sends
// with the commit and in the order of commits; this one by write.
func (c conn) announce(ctx context.Context, all ...notify.News) error {
	c.news.news = append(c.news.news, all...)
	if !c.dialect.notify || len(all) == 0 {
		return nil
	}
	payloads := make([]string, len(all))
	for i, n := range all {
		var err error
		payloads[i], err = notice{
			By: c.news.by, Topic: n.Topic, Principal: n.Principal, AppID: n.AppID,
			Epoch: n.Epoch, Revision: n.Revision, Replica: n.Replica, Revoked: n.Revoked, Refused: n.Refused,
		}.payload()
		if err != nil {
			return err
		}
	}
	if len(payloads) == 1 {
		_, err := c.exec(ctx, "SELECT pg_notify(?, ?)", channel, payloads[0])
		return err
	}
	list, err := json.Marshal(payloads)
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, "SELECT pg_notify(?, payload) FROM json_array_elements_text(?::json) AS payload", channel, string(list))
	return err
}

// News returns the bus on which the store announces what changed, here or in another process.
func (db *DB) News() *notify.Bus { return &db.news }

// Run publishes what other processes on the same Postgres change, until ctx is done; then it returns nil. It listens
// on a connection of its own, which it tries every second and replaces when it is lost. What was announced meanwhile
// is gone, so each time it begins to listen it publishes notify.Everything. On SQLite there is nobody else to hear.
func (db *DB) Run(ctx context.Context) error {
	if db.listener == nil {
		<-ctx.Done()
		return nil
	}
	for tries := 0; ; tries++ {
		err := db.listen(ctx, func() { tries = 0 })
		if ctx.Err() != nil {
			return nil
		}
		if tries%60 == 0 { // once, and then about every minute
			db.log.Warn("news of other replicas is not heard: what they change counts within a second all the same, but statements that run go on", zap.Error(err))
		}
		pause := min(100*time.Millisecond<<min(tries, 10), maxBackOff)
		pause = pause/2 + rand.N(pause/2) // apart, because all replicas lose their connections together
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// listen connects, calls begun once it hears, and publishes what comes until the connection is lost.
func (db *DB) listen(ctx context.Context, begun func()) error {
	starting, cancel := context.WithTimeout(ctx, listenLimit)
	defer cancel()
	c, err := pgx.ConnectConfig(starting, db.listener)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer hangUp(ctx, c)
	if _, err := c.Exec(starting, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := db.prove(starting, c); err != nil {
		return err
	}
	begun()
	db.log.Info("listening to news of other replicas")
	db.news.Publish(notify.News{Topic: notify.Everything})
	for {
		n, err := within(ctx, pingEvery, c.WaitForNotification)
		switch {
		case err == nil:
			db.heard(n.Payload)
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("wait for news: %w", err)
		default:
			if _, err := within(ctx, pingTimeout, func(ctx context.Context) (any, error) { return nil, c.Ping(ctx) }); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		}
	}
}

// prove waits until c has heard what another session announces. Through a pooler that shares sessions, LISTEN succeeds
// and nothing is ever heard. The session is a new one: those of the pool may be lost, and not know it yet.
func (db *DB) prove(ctx context.Context, c *pgx.Conn) error {
	hello := notice{By: db.process, Topic: listening}
	payload, err := hello.payload()
	if err != nil {
		return err
	}
	other, err := pgx.ConnectConfig(ctx, db.listener)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer hangUp(ctx, other)
	if _, err := other.Exec(ctx, "SELECT pg_notify($1, $2)", channel, payload); err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("what is announced is not heard: if store.url leads to a connection pooler, let it lead to Postgres itself: %w", err)
		}
		if heard, ok := parse(n.Payload); ok && heard == hello {
			return nil // what came before it is part of Everything
		}
	}
}

// hangUp closes c, which is lost already or of no use any more.
func hangUp(ctx context.Context, c *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer cancel()
	_ = c.Close(ctx)
}

// heard publishes what another process announced. What this process announced it knows already, and hearing it again,
// late, could end what came after it.
func (db *DB) heard(payload string) {
	n, ok := parse(payload)
	switch {
	case !ok:
		db.log.Warn("news that cannot be read: everything is looked up again", zap.Int("bytes", len(payload)))
		n = notice{Topic: notify.Everything}
	case n.By == db.process, n.Topic == listening:
		return
	}
	db.news.Publish(notify.News{
		Topic: n.Topic, Principal: n.Principal, AppID: n.AppID, Epoch: n.Epoch, Revision: n.Revision, Replica: n.Replica,
		Revoked: n.Revoked, Refused: n.Refused,
	})
}

// parse reads a payload. Fields that a newer program adds are ignored.
func parse(payload string) (notice, bool) {
	var n notice
	err := json.Unmarshal([]byte(payload), &n)
	return n, err == nil && n.Topic != ""
}

// within calls f with a deadline of its own.
func within[T any](ctx context.Context, d time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}
