package sqlgen

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
)

// RefreshKey is a statement whose answer changes when the source does: the refresh_key of a cube, in SQL.
type RefreshKey struct {
	Statement
	Every time.Duration // how long its answer is good before it is asked again
	Of    string        // whose it is, and where: "cube orders (model/orders.yml:7)", "pre-aggregation orders.main (…)"
}

// oldest is how old a fresh result may be at most, whatever the model says (orchestrator.md §6.2).
const oldest = 6 * time.Hour

// touches notes that the SQL reads rows of c.
func (p *planner) touches(c *datamodel.Cube) {
	if !slices.Contains(*p.touched, c) {
		*p.touched = append(*p.touched, c)
	}
}

// freshness combines the refresh keys of the cubes whose rows the SQL reads. What a cube does not say, its dialect does.
func (p *planner) freshness(plan *Plan) error {
	plan.FreshFor = oldest
	for _, c := range slices.Clone(*p.touched) {
		k := c.RefreshKey
		switch {
		case k.SQL != nil:
			key, err := p.refreshKey(c, k, "cube "+c.Name)
			if err != nil {
				return err
			}
			same := func(other RefreshKey) bool { return other.SQL == key.SQL && slices.Equal(other.Args, key.Args) }
			if i := slices.IndexFunc(plan.RefreshKeys, same); i >= 0 {
				plan.RefreshKeys[i].Every = min(plan.RefreshKeys[i].Every, key.Every)
				continue
			}
			plan.RefreshKeys = append(plan.RefreshKeys, key)
		case k.Every != 0:
			if since := k.Since(p.o.Now, p.loc); since.After(plan.FreshSince) {
				plan.FreshSince = since
			}
		default:
			plan.FreshFor = min(plan.FreshFor, p.d.FreshFor())
		}
	}
	return nil
}

// refreshKey returns a refresh_key in SQL of c, or of something that c defines. Its answer leaves the server in development mode
// only, so it is over the values themselves and not over what a mask shows.
func (p *planner) refreshKey(c *datamodel.Cube, k datamodel.RefreshKey, of string) (RefreshKey, error) {
	at := k.SQL.Position
	key := RefreshKey{Every: k.Every, Of: fmt.Sprintf("%s (%s:%d)", of, at.File, at.Line)}
	if key.Every == 0 {
		key.Every = p.d.FreshFor()
	}
	f, err := scope{p: p, raw: true, rowsOf: c}.eval(c, k.SQL, nil)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		told := *e
		told.Detail = "The refresh_key of " + key.Of + ": " + e.Detail
		return key, &told
	}
	key.Statement = f.statement(p.d)
	return key, err
}
