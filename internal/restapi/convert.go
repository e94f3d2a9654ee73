package restapi

import (
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
	if strings.TrimSpace(asked.Query) == "" {
		return fault.New(fault.Invalid, "query parameter must be a non-empty string")
	}
	model, meta, err := h.visible(r.Context(), sc, datamodel.MetaOptions{})
	if err != nil {
		return err
	}
	sel, err := cubesql.NewCatalog(model, meta).Select(asked.Query, h.cfg.MaxLimit)
	if refused, ok := errors.AsType[*fault.Error](err); ok && refused.Kind == fault.Invalid {
		writeJSON(w, http.StatusOK, converted{Status: "error", Error: refused.Detail})
		return nil
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, converted{Status: "ok", Query: &askedQuery{sel.Query, sel.Query.Order}})
	return nil
}
