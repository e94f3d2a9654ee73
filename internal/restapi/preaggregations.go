package restapi

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
)

// The operations on pre-aggregations (cube-rest-api.md §13) answer what is true where none is built: none can be used, none
// is behind, and nobody has posted a job.

// canUse answers /v1/pre-aggregations/can-use.
func (h *Handler) canUse(w http.ResponseWriter, r *http.Request, _ securitycontext.Context) error {
	var asked struct {
		TransformedQuery map[string]any `json:"transformedQuery"`
		References       map[string]any `json:"references"`
	}
	if err := readBody(r, &asked); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]bool{"canUsePreAggregationForTransformedQuery": false})
	return nil
}

// scheduledRefresh answers /v1/run-scheduled-refresh, which old installations call every minute until it has finished.
func (h *Handler) scheduledRefresh(w http.ResponseWriter, _ *http.Request, _ securitycontext.Context) error {
	writeJSON(w, http.StatusOK, map[string]bool{"finished": true})
	return nil
}

// jobQuery is the body of /v1/pre-aggregations/jobs.
type jobQuery struct {
	Action   string   `json:"action"`
	Tokens   []string `json:"tokens"`
	ResType  string   `json:"resType"`
	Selector struct {
		Contexts []struct {
			SecurityContext map[string]any `json:"securityContext"`
		} `json:"contexts"`
		Timezones       []string `json:"timezones"`
		DataSources     []string `json:"dataSources"`
		Cubes           []string `json:"cubes"`
		PreAggregations []string `json:"preAggregations"`
	} `json:"selector"`
}

// check returns Cube's error for a job that breaks its schema. Credentials are nobody's to send along.
func (q jobQuery) check() error {
	broken := func(why string) error { return fault.New(fault.Invalid, "Invalid Job query format: %s", why) }
	switch {
	case q.Action == "get" && len(q.Tokens) == 0:
		return broken(`"tokens" is required`)
	case q.Action == "get":
		return nil
	case q.Action != "post":
		return broken(`"action" must be one of [post, get]`)
	case len(q.Selector.Contexts) == 0:
		return broken(`"selector.contexts" must contain at least 1 items`)
	case len(q.Selector.Timezones) == 0:
		return broken(`"selector.timezones" must contain at least 1 items`)
	}
	for _, c := range q.Selector.Contexts {
		if cloud, _ := c.SecurityContext["cubeCloud"].(map[string]any); cloud["userCredentials"] != nil {
			return fault.New(fault.Denied, "A job runs under no credentials that come with it: leave cubeCloud.userCredentials out.")
		}
	}
	return nil
}

// matches reports whether a job is about a pre-aggregation of the model.
func (q jobQuery) matches(m *datamodel.Model) bool {
	in := func(list []string, names ...string) bool {
		found := len(list) == 0
		for _, one := range list {
			for _, name := range names {
				found = found || one == name
			}
		}
		return found
	}
	for _, c := range m.Cubes() {
		for _, p := range c.PreAggregations {
			if in(q.Selector.DataSources, c.DataSource) && in(q.Selector.Cubes, c.Name) && in(q.Selector.PreAggregations, c.Name+"."+p.Name, p.Name) {
				return true
			}
		}
	}
	return false
}

// jobs answers /v1/pre-aggregations/jobs.
func (h *Handler) jobs(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	var q jobQuery
	if err := readBody(r, &q); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	type status struct {
		Token  string `json:"token,omitempty"`
		Status string `json:"status"`
	}
	model, err := h.cfg.Model(r.Context(), sc)
	if err != nil {
		return err
	}
	switch {
	case q.Action == "post" && !q.matches(model):
		return fault.New(fault.Invalid, "A user's selector doesn't match any of the pre-aggregations defined in the data model.")
	case q.Action == "post":
		return notImplemented("pre-aggregations are not built yet; queries go to the data source")(w, r, sc)
	case q.ResType == "object":
		all := map[string]status{}
		for _, t := range q.Tokens {
			all[t] = status{Status: "not_found"}
		}
		writeJSON(w, http.StatusOK, all)
	default:
		all := []status{}
		for _, t := range q.Tokens {
			all = append(all, status{t, "not_found"})
		}
		writeJSON(w, http.StatusOK, all)
	}
	return nil
}

// readBody decodes the JSON body of a request that describes a job.
func readBody(r *http.Request, to any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(body)); text == "" || text == "{}" || text == "null" {
		return fault.New(fault.Invalid, "No job description provided")
	}
	if err := json.Unmarshal(body, to); err != nil {
		return malformed(err)
	}
	return nil
}
