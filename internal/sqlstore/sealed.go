package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// sealedTable is a table with sealed columns.
type sealedTable struct {
	name   string
	row    []string // the columns that name a row, all text: its primary key, then what else its place is made of
	fields []string // the sealed columns

	// place returns where a value of the row with these names opens, but for the field. What it is made of never
	// changes in a row, so that a value can be opened and sealed again by whoever reads the row.
	place func(row []string) secret.Place
}

// at returns the place of a field of the row with these names.
func (t sealedTable) at(field string, row ...string) secret.Place {
	p := t.place(row)
	p.Table, p.ID, p.Field = t.name, row[0], field
	return p
}

// The tables with sealed columns. The stores take their places from here; so do re-sealing, verification and the search
// for values of a key, which go through sealedTables. A test compares it with the schema.
var (
	sealedApps = sealedTable{
		name: "oauth_apps", row: []string{"id", "domain"}, fields: []string{"client_secret", "client_secret_next", "private_key"},
		place: func(row []string) secret.Place { return secret.Place{Domain: row[1]} },
	}
	// The person and the app are part of the place: a row that somebody hands to another person in the database is
	// worth nothing there.
	sealedGrants = sealedTable{
		name: "grants", row: []string{"id", "domain", "realm", "subject", "app_id"}, fields: []string{"access_token", "refresh_token", "spare_refresh_token", "dpop_key"},
		place: func(row []string) secret.Place {
			return secret.Place{Domain: row[1], Owner: owner(row[2], row[3], row[4])}
		},
	}
	sealedAuthorizations = sealedTable{
		name: "authorizations", row: []string{"id", "realm", "subject", "app_id"}, fields: []string{"verifier", "nonce", "dpop_key"},
		place: func(row []string) secret.Place { return secret.Place{Owner: owner(row[1], row[2], row[3])} },
	}

	// Kind and key are part of the place: a secret that is to be revoked cannot be made the payload of another act.
	sealedJobs = sealedTable{
		name: "jobs", row: []string{"id", "kind", "key"}, fields: []string{"secret"},
		place: func(row []string) secret.Place {
			return secret.Place{Owner: securitycontext.Principal{Realm: row[1], Subject: row[2]}.Key()}
		},
	}

	sealedTables = []sealedTable{sealedApps, sealedGrants, sealedAuthorizations, sealedJobs}
)

// owner returns the owner of what is a person's at an app.
func owner(realm, subject, appID string) string {
	person := securitycontext.Principal{Realm: realm, Subject: subject}
	return securitycontext.Principal{Realm: person.Key(), Subject: appID}.Key()
}

// anySealed tells whether anything is sealed.
func anySealed(ctx context.Context, c conn) (sealed bool, err error) {
	return sealedOtherwise(ctx, c, nil)
}

// keyUse is how many values of a column a key has sealed.
type keyUse struct {
	prefix       []byte // of the values, which names the key; shorter than five bytes when no key of ours sealed them
	values       int64
	table, field string
}

// keyUses searches the store for the keys that sealed what it holds. It reads every sealed value's beginning.
func keyUses(ctx context.Context, c conn) ([]keyUse, error) {
	var all []keyUse
	for _, t := range sealedTables {
		for _, f := range t.fields {
			var rows []struct {
				Prefix []byte `db:"prefix"`
				Count  int64  `db:"n"`
			}
			if err := c.all(ctx, &rows, fmt.Sprintf("SELECT substr(%[1]s, 1, 5) AS prefix, count(*) AS n FROM %[2]s WHERE %[1]s IS NOT NULL GROUP BY substr(%[1]s, 1, 5)", f, t.name)); err != nil {
				return nil, err
			}
			for _, r := range rows {
				all = append(all, keyUse{r.Prefix, r.Count, t.name, f})
			}
		}
	}
	return all, nil
}

// sealedOtherwise tells whether a value is there that does not begin with prefix.
func sealedOtherwise(ctx context.Context, c conn, prefix []byte) (some bool, err error) {
	for _, t := range sealedTables {
		where, args := t.otherwise(prefix)
		err = c.get(ctx, &some, fmt.Sprintf("SELECT EXISTS (SELECT 1 FROM %s WHERE %s)", t.name, where), args...)
		if some || err != nil {
			return some, err
		}
	}
	return false, nil
}

// otherwise is the condition that a row of t has a value that does not begin with prefix; with none, that it has a value.
func (t sealedTable) otherwise(prefix []byte) (where string, args []any) {
	var some []string
	for _, f := range t.fields {
		if prefix == nil {
			some = append(some, f+" IS NOT NULL")
			continue
		}
		some = append(some, fmt.Sprintf("(%[1]s IS NOT NULL AND substr(%[1]s, 1, 5) <> ?)", f))
		args = append(args, prefix)
	}
	return strings.Join(some, " OR "), args
}

// sealedRow is one row of a sealedTable.
type sealedRow struct {
	names  []string // as sealedTable.row
	values [][]byte // as sealedTable.fields; nil for none
}

// page returns at most n rows of t that have something sealed, after the one whose primary key is after. With a prefix
// it returns only those with a value that does not begin with it.
func (t sealedTable) page(ctx context.Context, c conn, after string, n int, prefix []byte) ([]sealedRow, error) {
	where, args := t.otherwise(prefix)
	query := fmt.Sprintf("SELECT %s, %s FROM %s WHERE %[4]s > ? AND (%s) ORDER BY %[4]s LIMIT ?",
		strings.Join(t.row, ", "), strings.Join(t.fields, ", "), t.name, t.row[0], where)
	var page []sealedRow
	err := c.each(ctx, query, append(append([]any{after}, args...), n), func(scan func(...any) error) error {
		r := sealedRow{make([]string, len(t.row)), make([][]byte, len(t.fields))}
		var dest []any
		for i := range r.names {
			dest = append(dest, &r.names[i])
		}
		for i := range r.values {
			dest = append(dest, &r.values[i])
		}
		page = append(page, r)
		return scan(dest...)
	})
	return page, err
}

// replace stores the values of next in those rows of page where all of the values that they replace still are, and
// returns how many values that were. A nil in next leaves its column alone. It is one statement: on Postgres, one for
// each row takes three times as long.
func (t sealedTable) replace(ctx context.Context, c conn, page []sealedRow, next [][][]byte) (values int64, err error) {
	var set, same, lines []string
	var args []any
	for i, f := range t.fields {
		set = append(set, fmt.Sprintf("%s = coalesce(v.column%d, %s.%s)", f, 2*i+3, t.name, f))
		same = append(same, fmt.Sprintf("(v.column%d IS NULL OR %s.%s = v.column%d)", 2*i+2, t.name, f, 2*i+2))
	}
	count := map[string]int64{}
	for i, row := range page {
		line := []any{row.names[0]}
		for j, v := range next[i] {
			if v == nil {
				line = append(line, nil, nil)
				continue
			}
			line = append(line, row.values[j], v)
			count[row.names[0]]++
		}
		if count[row.names[0]] > 0 {
			args = append(args, line...)
			lines = append(lines, "(CAST(? AS TEXT)"+strings.Repeat(", CAST(? AS "+c.dialect.binary+")", len(line)-1)+")")
		}
	}
	if len(lines) == 0 {
		return 0, nil
	}
	query := fmt.Sprintf("UPDATE %[1]s SET %[2]s FROM (VALUES %[3]s) AS v WHERE %[1]s.%[4]s = v.column1 AND %[5]s RETURNING %[4]s",
		t.name, strings.Join(set, ", "), strings.Join(lines, ", "), t.row[0], strings.Join(same, " AND "))
	var changed []string
	if err := c.all(ctx, &changed, query, args...); err != nil {
		return 0, err
	}
	for _, id := range changed {
		values += count[id]
	}
	return values, nil
}
