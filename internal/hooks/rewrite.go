package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/script"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/dop251/goja"
)

// Rewrites reports whether there is a queryRewrite.
func (h *Hooks) Rewrites() bool { return h.has(queryRewrite) }

// Rewrite returns a normalized query as queryRewrite has it (cube-data-model.md §17): decoded and normalized again, as
// if a client had sent it. q is left as it is.
func (h *Hooks) Rewrite(ctx context.Context, sc securitycontext.Context, q query.Query, o query.Options) (query.Query, error) {
	if !h.has(queryRewrite) {
		return q, nil
	}
	before, err := asObject(q)
	if err != nil {
		return query.Query{}, err
	}
	var after map[string]any
	err = h.call(ctx, queryRewrite, func(r *script.Runtime) []goja.Value {
		return append([]goja.Value{r.Value(before)}, given(sc, map[string]any{"requestId": audit.RequestID(ctx)})(r)...)
	}, func(r *script.Runtime, v goja.Value) error {
		plain, err := r.Plain(v)
		if err != nil {
			return err
		}
		var ok bool
		if after, ok = plain.(map[string]any); !ok {
			return wrong("it returned %s, and not a query; return the query that it was given, changed or not", kind(plain))
		}
		return nil
	})
	if err != nil {
		return query.Query{}, err
	}
	rewritten, err := readQuery(before, after, o)
	if err != nil {
		return query.Query{}, h.failed(queryRewrite, fmt.Errorf("the query that it returned: %w", reason(err)))
	}
	return rewritten, nil
}

// asObject returns q as hooks see it.
func asObject(q query.Query) (map[string]any, error) {
	text, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var m map[string]any
	return m, decoder.Decode(&m)
}

// readQuery decodes and normalizes what came back.
func readQuery(before, after map[string]any, o query.Options) (query.Query, error) {
	// limit and rowLimit are two names of one number: the one that was changed counts.
	for _, names := range [][2]string{{"limit", "rowLimit"}, {"rowLimit", "limit"}} {
		if !same(before[names[0]], after[names[0]]) && same(before[names[1]], after[names[1]]) {
			delete(after, names[1])
		}
	}
	text, err := json.Marshal(after)
	if err != nil {
		return query.Query{}, err
	}
	batch, err := query.Decode(text)
	if err != nil {
		return query.Query{}, err
	}
	if batch.Type != query.Regular || len(batch.Queries) != 1 {
		return query.Query{}, fault.New(fault.Invalid, "compareDateRange cannot be added to a query")
	}
	return batch.Queries[0].Normalize(o)
}

// same compares two numbers of a query, whatever their types.
func same(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// reason returns what a person may read of err.
func reason(err error) error {
	if e, ok := faultError(err); ok && e.Detail != "" {
		return fmt.Errorf("%s", e.Detail)
	}
	return err
}
