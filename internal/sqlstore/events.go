package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/event"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jobs"
)

// Events keeps events and their deliveries: an event.Store.
type Events struct{ db *DB }

var _ event.Store = (*Events)(nil)

// Events returns the store of events.
func (db *DB) Events() *Events { return &Events{db} }

// eventRow is an event as its table holds it.
type eventRow struct {
	ID           string  `db:"id"`
	Kind         string  `db:"kind"`
	At           int64   `db:"at"`
	Person       string  `db:"person"`
	App          string  `db:"app"`
	Object       string  `db:"object"`
	Detail       facts   `db:"detail"`
	Dedupe       *string `db:"dedupe"`
	DispatchedAt int64   `db:"dispatched_at"`
}

const eventColumns = "id, kind, at, person, app, object, detail, dedupe, dispatched_at"

func (row eventRow) event() event.Event {
	e := event.Event{
		ID: row.ID, Kind: event.Kind(row.Kind), At: moment(row.At), Person: row.Person, App: row.App, Object: row.Object, Detail: row.Detail,
	}
	if row.Dedupe != nil {
		e.Dedupe = *row.Dedupe
	}
	return e
}

// deliveryRow is a delivery as its table holds it, with the kind of its event.
type deliveryRow struct {
	ID       string `db:"id"`
	EventID  string `db:"event_id"`
	Kind     string `db:"kind"`
	Receiver string `db:"receiver"`
	State    string `db:"state"`
	Attempts int    `db:"attempts"`
	Status   int    `db:"status"`
	Code     string `db:"code"`
	At       int64  `db:"at"`
	TriedAt  int64  `db:"tried_at"`
	NextAt   int64  `db:"next_at"`
}

const deliveryColumns = "d.id, d.event_id, e.kind, d.receiver, d.state, d.attempts, d.status, d.code, d.at, d.tried_at, d.next_at"

func (row deliveryRow) delivery() event.Delivery {
	return event.Delivery{
		ID: row.ID, EventID: row.EventID, Kind: event.Kind(row.Kind), Receiver: row.Receiver, State: event.State(row.State),
		Attempts: row.Attempts, Status: row.Status, Code: row.Code, At: moment(row.At), TriedAt: moment(row.TriedAt), NextAt: moment(row.NextAt),
	}
}

// addEvents adds events to the transaction of the act that they are, and returns how many were new.
func (db *DB) addEvents(ctx context.Context, c conn, events ...event.Event) (int64, error) {
	rows := make([]eventRow, len(events))
	for i, e := range events {
		if e.ID == "" {
			e.ID = id.New(id.Event, db.now())
		}
		rows[i] = eventRow{
			ID: e.ID, Kind: string(e.Kind), At: millis(orElse(e.At, db.now())), Person: printable(e.Person), App: printable(e.App),
			Object: printable(e.Object), Detail: e.Detail,
		}
		if e.Dedupe != "" {
			dedupe := printable(e.Dedupe)
			rows[i].Dedupe = &dedupe
		}
	}
	return insertAll(ctx, c, "events", eventColumns, rows, " ON CONFLICT (dedupe) DO NOTHING")
}

// manyValues is how many values one statement binds, about. SQLite's driver looks for each among all of them, so that
// many more would be slower.
const manyValues = 300

// insertAll inserts rows, whose db tags are the columns, in as few statements as it can.
func insertAll[T any](ctx context.Context, c conn, table, columns string, rows []T, conflict string) (n int64, err error) {
	names := strings.FieldsFunc(columns, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
	values := ":" + strings.Join(names, ", :")
	for len(rows) > 0 {
		some := rows[:min(len(rows), max(manyValues/len(names), 1))]
		rows = rows[len(some):]
		k, err := c.execNamed(ctx, "INSERT INTO "+table+" ("+columns+") VALUES ("+values+")"+conflict, some)
		if err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// Append implements event.Store.
func (s *Events) Append(ctx context.Context, e event.Event) (bool, error) {
	if !event.Known(string(e.Kind)) {
		return false, fault.New(fault.Invalid, "There is no event of the kind %q.", string(e.Kind))
	}
	var n int64
	err := s.db.write(ctx, "store an event", func(ctx context.Context, c conn) (err error) {
		n, err = s.db.addEvents(ctx, c, e)
		return err
	})
	return n == 1, err
}

// Get implements event.Store.
func (s *Events) Get(ctx context.Context, id string) (event.Event, error) {
	var row eventRow
	err := s.db.read(ctx, "read an event", func(ctx context.Context, c conn) error {
		return getEvent(ctx, c, &row, id)
	})
	return row.event(), err
}

func getEvent(ctx context.Context, c conn, row *eventRow, id string) error {
	err := c.get(ctx, row, "SELECT "+eventColumns+" FROM events WHERE id = ?", id)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "There is no such event.")
	}
	return err
}

// Undispatched implements event.Store.
func (s *Events) Undispatched(ctx context.Context, limit int) ([]event.Event, error) {
	var rows []eventRow
	err := s.db.read(ctx, "look for new events", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+eventColumns+" FROM events WHERE dispatched_at = 0 ORDER BY id LIMIT ?", limit)
	})
	events := make([]event.Event, len(rows))
	for i, row := range rows {
		events[i] = row.event()
	}
	return events, err
}

// Dispatch implements event.Store.
func (s *Events) Dispatch(ctx context.Context, eventID string, deliveries []event.Delivery) error {
	return s.db.write(ctx, "dispatch an event", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "UPDATE events SET dispatched_at = ? WHERE id = ? AND dispatched_at = 0", millis(s.db.now()), eventID)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Conflict, "The event was dispatched already.")
		}
		for _, d := range deliveries {
			d.EventID = eventID
			if err := s.deliver(ctx, c, d); err != nil {
				return err
			}
		}
		return nil
	})
}

// deliver adds a delivery and the job that does it.
func (s *Events) deliver(ctx context.Context, c conn, d event.Delivery) error {
	_, err := c.execNamed(ctx, `INSERT INTO deliveries (id, event_id, receiver, state, attempts, status, code, at, tried_at, next_at)
		VALUES (:id, :event_id, :receiver, :state, 0, 0, '', :at, 0, :next_at)`, deliveryRow{
		ID: d.ID, EventID: d.EventID, Receiver: d.Receiver, State: string(event.Pending), At: millis(d.At), NextAt: millis(d.NextAt),
	})
	if err != nil {
		return err
	}
	job, err := deliveryJob(d)
	if err != nil {
		return err
	}
	return s.db.addJobs(ctx, c, job)
}

// deliveryJob is the job of a delivery. Mail to one person is one job: a digest takes all that waits.
func deliveryJob(d event.Delivery) (jobs.Job, error) {
	j := jobs.Job{Kind: event.WebhookJob, Key: d.ID, Lane: d.Receiver, DueAt: d.NextAt, CreatedAt: d.At}
	subject := d.ID
	if person, ok := strings.CutPrefix(d.Receiver, event.ByMail); ok {
		j.Kind, j.Key, j.Lane, subject = event.MailJob, person, "", person
	}
	var err error
	j.Payload, err = json.Marshal(subject)
	return j, err
}

// Delivery implements event.Store.
func (s *Events) Delivery(ctx context.Context, id string) (event.Delivery, event.Event, error) {
	var d deliveryRow
	var e eventRow
	err := s.db.read(ctx, "read a delivery", func(ctx context.Context, c conn) error {
		if err := getDelivery(ctx, c, &d, id); err != nil {
			return err
		}
		return getEvent(ctx, c, &e, d.EventID)
	})
	return d.delivery(), e.event(), err
}

func getDelivery(ctx context.Context, c conn, row *deliveryRow, id string) error {
	err := c.get(ctx, row, "SELECT "+deliveryColumns+" FROM deliveries d JOIN events e ON e.id = d.event_id WHERE d.id = ?", id)
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "There is no such delivery.")
	}
	return err
}

// Attempted implements event.Store.
func (s *Events) Attempted(ctx context.Context, ds ...event.Delivery) error {
	return s.db.write(ctx, "note a delivery", func(ctx context.Context, c conn) error {
		for _, d := range ds {
			_, err := c.exec(ctx, "UPDATE deliveries SET state = ?, attempts = ?, status = ?, code = ?, tried_at = ?, next_at = ? WHERE id = ?",
				string(d.State), d.Attempts, d.Status, d.Code, millis(d.TriedAt), millis(d.NextAt), d.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Deliveries implements event.Store.
func (s *Events) Deliveries(ctx context.Context, before string, limit int) ([]event.Delivery, error) {
	where, args := "", []any{}
	if before != "" {
		where, args = " WHERE d.id < ?", append(args, before)
	}
	return s.deliveries(ctx, where+" ORDER BY d.id DESC LIMIT ?", append(args, limit)...)
}

func (s *Events) deliveries(ctx context.Context, where string, args ...any) ([]event.Delivery, error) {
	var rows []deliveryRow
	err := s.db.read(ctx, "list deliveries", func(ctx context.Context, c conn) error {
		rows = nil
		return c.all(ctx, &rows, "SELECT "+deliveryColumns+" FROM deliveries d JOIN events e ON e.id = d.event_id"+where, args...)
	})
	list := make([]event.Delivery, len(rows))
	for i, row := range rows {
		list[i] = row.delivery()
	}
	return list, err
}

// Replay implements event.Store.
func (s *Events) Replay(ctx context.Context, deliveryID string, now time.Time, e audit.Entry) (event.Delivery, error) {
	var again event.Delivery
	err := s.db.write(ctx, "replay a delivery", func(ctx context.Context, c conn) error {
		var old deliveryRow
		if err := getDelivery(ctx, c, &old, deliveryID); err != nil {
			return err
		}
		again = event.Delivery{
			ID: id.New(id.Delivery, now), EventID: old.EventID, Kind: event.Kind(old.Kind), Receiver: old.Receiver, State: event.Pending, At: now, NextAt: now,
		}
		if err := s.deliver(ctx, c, again); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, again.ID)
	})
	return again, err
}

// PendingMail implements event.Store.
func (s *Events) PendingMail(ctx context.Context, person string) ([]event.Delivery, []event.Event, error) {
	ds, err := s.deliveries(ctx, " WHERE d.receiver = ? AND d.state = ? ORDER BY d.id LIMIT 200", event.ByMail+person, string(event.Pending))
	if err != nil {
		return nil, nil, err
	}
	events := make([]event.Event, len(ds))
	for i, d := range ds {
		if events[i], err = s.Get(ctx, d.EventID); err != nil {
			return nil, nil, err
		}
	}
	return ds, events, nil
}

// LastMail implements event.Store.
func (s *Events) LastMail(ctx context.Context, person string) (time.Time, error) {
	var at int64
	err := s.db.read(ctx, "look for the last mail", func(ctx context.Context, c conn) error {
		return c.get(ctx, &at, "SELECT coalesce(max(tried_at), 0) FROM deliveries WHERE receiver = ? AND state = ?", event.ByMail+person, string(event.Delivered))
	})
	return moment(at), err
}

// ForgetEvents implements event.Store.
func (s *Events) ForgetEvents(ctx context.Context, before time.Time) error {
	return s.db.write(ctx, "forget events", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, `DELETE FROM events WHERE at < ? AND dispatched_at > 0
			AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = events.id AND d.state = ?)`, millis(before), string(event.Pending))
		return err
	})
}
