package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/behalf-project/behalf/internal/anomaly"
	"github.com/behalf-project/behalf/internal/fault"
)

// Baselines keeps the habits of callers: an anomaly.Store.
type Baselines struct{ db *DB }

var _ anomaly.Store = (*Baselines)(nil)

// Baselines returns the store of the habits of callers.
func (db *DB) Baselines() *Baselines { return &Baselines{db} }

// LoadBaseline implements anomaly.Store.
func (s *Baselines) LoadBaseline(ctx context.Context, caller string) (b anomaly.Baseline, err error) {
	err = s.db.read(ctx, "read a baseline", func(ctx context.Context, c conn) error {
		var text string
		err := c.get(ctx, &text, "SELECT baseline FROM baselines WHERE caller = ?", caller)
		if errors.Is(err, sql.ErrNoRows) {
			return fault.New(fault.NotFound, "Nothing is known of this caller.")
		}
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &b)
	})
	return b, err
}

// SaveBaseline implements anomaly.Store.
func (s *Baselines) SaveBaseline(ctx context.Context, caller string, b anomaly.Baseline) error {
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return s.db.write(ctx, "store a baseline", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, `INSERT INTO baselines (caller, baseline, seen_at) VALUES (?, ?, ?)
			ON CONFLICT (caller) DO UPDATE SET baseline = excluded.baseline, seen_at = excluded.seen_at`, caller, string(text), millis(b.LastAt))
		return err
	})
}

// ForgetBaselines implements anomaly.Store.
func (s *Baselines) ForgetBaselines(ctx context.Context, before time.Time) error {
	return s.db.write(ctx, "forget baselines", func(ctx context.Context, c conn) error {
		_, err := c.exec(ctx, "DELETE FROM baselines WHERE seen_at < ?", millis(before))
		return err
	})
}
