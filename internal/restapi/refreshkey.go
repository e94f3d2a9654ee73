package restapi

import (
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
	out = append(out, '[')
	for i, a := range answers {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, '[')
		for j, row := range a.Rows {
			if j > 0 {
				out = append(out, ',')
			}
			out = append(out, '{')
			for n, v := range row {
				if n > 0 {
					out = append(out, ',')
				}
				out = append(appendString(out, a.Columns[n].Name), ':')
				out = appendValue(out, v, datamodel.Number)
			}
			out = append(out, '}')
		}
		out = append(out, ']')
	}
	return append(out, ']')
}
