package restapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/behalf-project/behalf/internal/cubesql"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// converted is the answer of /v1/convert-query.
type converted struct {
	Status string      `json:"status"` // ok, or error
	Query  *askedQuery `json:"query,omitempty"`
	Error  string      `json:"error,omitempty"`
}

// askedQuery is a query as clients write one.
type askedQuery struct {
	query.Query
	Order order `json:"order"`
}

// convert answers /v1/convert-query: the query that has the rows of a SELECT over cubes (cube-rest-api.md §11.3). That there
// is none is an answer too, and says why.
func (h *Handler) convert(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	var asked struct {
		Input  string `json:"input"`
		Output string `json:"output"`
		Query  string `json:"query"`
	}
	if err := readBody(r, &asked, "query parameter must be a non-empty string"); err != nil {
		return err
	}
	for _, p := range []struct{ name, got, want string }{{"input", asked.Input, "sql"}, {"output", asked.Output, "rest"}} {
		if p.got != p.want {
			writeJSON(w, http.StatusInternalServerError, problem{ // as Cube answers
				Error:   fmt.Sprintf("Error: Unexpected %s parameter value '%.100s'", p.name, p.got),
				Detail:  fmt.Sprintf("%s is %q: SELECTs are converted into queries of the REST API.", p.name, p.want),
				details: details{Code: string(fault.Invalid), RequestID: httpserver.RequestID(r.Context())},
			})
			return nil
		}
	}
	sel, no, err := h.selected(r.Context(), sc, asked.Query)
	switch {
	case err != nil:
		return err
	case no != "":
		writeJSON(w, http.StatusOK, converted{Status: "error", Error: no})
	default:
		writeJSON(w, http.StatusOK, converted{Status: "ok", Query: &askedQuery{sel.Query, sel.Query.Order}})
	}
	return nil
}

// selected returns the query that has the rows of a SELECT over what sc sees, or says why there is none.
func (h *Handler) selected(ctx context.Context, sc securitycontext.Context, text string) (sel cubesql.Select, no string, err error) {
	if strings.TrimSpace(text) == "" {
		return sel, "", fault.New(fault.Invalid, "query parameter must be a non-empty string")
	}
	model, meta, err := h.visible(ctx, sc, datamodel.MetaOptions{})
	if err != nil {
		return sel, "", err
	}
	sel, err = cubesql.NewCatalog(model, meta).Select(text, h.cfg.MaxLimit)
	if refused, ok := errors.AsType[*fault.Error](err); ok && refused.Kind == fault.Invalid {
		return sel, refused.Detail, nil
	}
	return sel, "", err
}

// selectSQL answers /v1/sql of a SELECT over cubes (cube-rest-api.md §11.1): the statement that /v1/cubesql would run for it.
func (h *Handler) selectSQL(w http.ResponseWriter, r *http.Request, sc securitycontext.Context, req request) error {
	var text string
	if json.Unmarshal(req.Query, &text) != nil { // in a URL it stands as it is
		text = string(req.Query)
	}
	type statement struct {
		Status string  `json:"status"` // ok, or error
		SQL    *[2]any `json:"sql,omitempty"`
		Error  string  `json:"error,omitempty"`
		Type   string  `json:"query_type,omitempty"` // regular: a query of the query API has its rows
	}
	sel, no, err := h.selected(r.Context(), sc, text)
	if err != nil {
		return err
	}
	answer := statement{Status: "error", Error: no}
	if no == "" {
		asked, err := json.Marshal(askedQuery{sel.Query, sel.Query.Order})
		if err != nil {
			return err
		}
		p, err := h.prepare(r.Context(), sc, request{Query: asked, Cache: req.Cache})
		if err != nil {
			return err
		}
		answer = statement{Status: "ok", SQL: shownSQL(p.queries[0].plan), Type: "regular"}
	}
	writeJSON(w, http.StatusOK, map[string]statement{"sql": answer})
	return nil
}
