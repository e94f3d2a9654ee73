package restapi

import (
	"bytes"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
)

// refreshKeys returns the refresh keys of a plan as the orchestrator asks them.
func refreshKeys(plan sqlgen.Plan) []orchestrator.RefreshKey {
	var keys []orchestrator.RefreshKey
	for _, k := range plan.RefreshKeys {
		keys = append(keys, orchestrator.RefreshKey{
			Statement: driverfactory.Statement{SQL: k.SQL, Args: k.Args}, Every: k.Every, Of: k.Of,
		})
	}
	return keys
}

// cacheKeyQueries returns them as /v1/sql shows them: text, bound values and options (cube-rest-api.md §11.1).
func cacheKeyQueries(plan sqlgen.Plan) []any {
	var all []any
	for _, k := range plan.RefreshKeys {
		all = append(all, []any{k.SQL, k.Args, map[string]any{"external": false, "renewalThreshold": k.Every.Seconds()}})
	}
	return all
}

// appendRefreshKeys writes what refresh keys were answered: for each its rows, keyed by column (cube-rest-api.md §5.4).
func appendRefreshKeys(out []byte, answers []orchestrator.Answer) []byte {
	w := bytes.NewBuffer(append(out, '['))
	for i, a := range answers {
		if i > 0 {
			w.WriteByte(',')
		}
		rows := encoding{cells: len(a.Columns)}
		for n, c := range a.Columns {
			rows.fields = append(rows.fields, newField(c.Name, datamodel.Number, n))
		}
		_ = rows.write(w, a.Rows) // a buffer takes everything
	}
	w.WriteByte(']')
	return w.Bytes()
}
