package sqlstore

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
)

// held stands for a token that is there and was not opened.
var held = secret.New("held")

// grantFacts are the columns that the status of a grant is derived from.
type grantFacts struct {
	ID               string `db:"id"`
	AppID            string `db:"app_id"`
	Access           int    `db:"access"`
	Refresh          int    `db:"refresh"`
	Requested        list   `db:"requested"`
	ConnectedAt      int64  `db:"connected_at"`
	RefreshedAt      int64  `db:"refreshed_at"`
	ExpiresAt        int64  `db:"expires_at"`
	RefreshExpiresAt int64  `db:"refresh_expires_at"`
	RefreshEndKnown  int64  `db:"refresh_end_known"`
	RefusedAt        int64  `db:"refused_at"`
	FailureCode      string `db:"failure_code"`
	IntentAt         int64  `db:"intent_at"`
	IntentUntil      int64  `db:"intent_until"`
}

// Facts calls each with every grant, as far as connectedapps.StatusOf looks at it: no token is opened, one that is there reads
// "held". It fails with fault.TooMany, before the first, where there are more than most.
func (s *Grants) Facts(ctx context.Context, most int, each func(connectedapps.Grant)) error {
	var n int
	if err := s.db.read(ctx, "count the grants", func(ctx context.Context, c conn) error {
		return c.get(ctx, &n, "SELECT COUNT(*) FROM (SELECT 1 FROM grants LIMIT ?) AS counted", most+1)
	}); err != nil {
		return err
	}
	if n > most {
		return fault.New(fault.TooMany, "There are more than %d grants, which are too many to look at each.", most)
	}
	for after, some := "", 2000; ; {
		var rows []grantFacts
		if err := s.db.read(ctx, "read the facts of grants", func(ctx context.Context, c conn) error {
			rows = rows[:0]
			return c.all(ctx, &rows, `SELECT id, app_id, CASE WHEN length(access_token) > 0 THEN 1 ELSE 0 END AS access,
				CASE WHEN length(refresh_token) > 0 THEN 1 ELSE 0 END AS refresh, requested, connected_at, refreshed_at, expires_at,
				refresh_expires_at, refresh_end_known, refused_at, failure_code, intent_at, intent_until
				FROM grants WHERE id > ? ORDER BY id LIMIT ?`, after, some)
		}); err != nil {
			return err
		}
		for _, row := range rows {
			after = row.ID
			g := connectedapps.Grant{
				ID: row.ID, Key: connectedapps.Key{AppID: row.AppID}, Requested: row.Requested, FailureCode: row.FailureCode,
				ConnectedAt: moment(row.ConnectedAt), RefreshedAt: moment(row.RefreshedAt), ExpiresAt: moment(row.ExpiresAt),
				RefreshExpiresAt: moment(row.RefreshExpiresAt), RefreshEndKnown: moment(row.RefreshEndKnown), RefusedAt: moment(row.RefusedAt),
				IntentAt: moment(row.IntentAt), IntentUntil: moment(row.IntentUntil),
			}
			if row.Access == 1 {
				g.AccessToken = held
			}
			if row.Refresh == 1 {
				g.RefreshToken = held
			}
			each(g)
		}
		if len(rows) < some {
			return nil
		}
	}
}

// SealingSince returns when the data key was made that seals.
func (k *Keys) SealingSince(ctx context.Context) (time.Time, error) {
	var made int64
	err := k.db.read(ctx, "read the age of the data key", func(ctx context.Context, c conn) error {
		return c.get(ctx, &made, `SELECT COALESCE((SELECT MAX(started_at) FROM key_rotations WHERE new_key = ?), created_at)
			FROM data_keys WHERE id = ?`, int64(k.db.keyring.Primary()), dataKeysID)
	})
	return moment(made), err
}
