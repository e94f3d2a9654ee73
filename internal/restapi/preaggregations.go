package restapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/sqlgen"
	"github.com/behalf-project/behalf/orchestrator"
)

// canUse answers /v1/pre-aggregations/can-use, the question of a designer of rollups that there is none of here: no.
func (h *Handler) canUse(w http.ResponseWriter, r *http.Request, _ securitycontext.Context) error {
	var asked struct {
		TransformedQuery map[string]any `json:"transformedQuery"`
		References       map[string]any `json:"references"`
	}
	if err := readBody(r, &asked, noJob); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]bool{"canUsePreAggregationForTransformedQuery": false})
	return nil
}

// scheduledRefresh answers /v1/run-scheduled-refresh, which old installations call every minute until it has finished. There is
// nothing to call it for: what people use is fetched again in time.
func (h *Handler) scheduledRefresh(w http.ResponseWriter, _ *http.Request, _ securitycontext.Context) error {
	writeJSON(w, http.StatusOK, map[string]bool{"finished": true})
	return nil
}

// noJob is what Cube says of a body without anything in it.
const noJob = "No job description provided"

// jobQuery is the body of /v1/pre-aggregations/jobs (cube-rest-api.md §13.1).
type jobQuery struct {
	Action   string      `json:"action"`
	Tokens   []string    `json:"tokens"`
	ResType  string      `json:"resType"`
	Selector jobSelector `json:"selector"`
}

// jobSelector says what a job builds, as it was posted and as its status shows it.
type jobSelector struct {
	Contexts        []jobContext `json:"contexts"`
	Timezones       []string     `json:"timezones"`
	DataSources     []string     `json:"dataSources,omitempty"`
	Cubes           []string     `json:"cubes,omitempty"`
	PreAggregations []string     `json:"preAggregations,omitempty"`
	DateRange       []string     `json:"dateRange,omitempty"`
}

type jobContext struct {
	SecurityContext map[string]any `json:"securityContext"`
}

// maxJobs bounds the jobs that are remembered, and what one post or question may name.
const (
	maxJobs       = 10_000
	maxJobsAtOnce = 100
)

// check returns Cube's error for a job that breaks its schema, and refuses one for somebody else: a rollup is built for who posts it.
func (q jobQuery) check() error {
	broken := func(why string) error { return fault.New(fault.Invalid, "Invalid Job query format: %s", why) }
	switch {
	case q.Action == "get" && len(q.Tokens) == 0:
		return broken(`"tokens" is required`)
	case q.Action == "get" && len(q.Tokens) > maxJobsAtOnce*maxJobsAtOnce:
		return broken(`"tokens" must contain less than or equal to 10000 items`)
	case q.Action == "get":
		return nil
	case q.Action != "post":
		return broken(`"action" must be one of [post, get]`)
	case len(q.Selector.Contexts) == 0:
		return broken(`"selector.contexts" must contain at least 1 items`)
	case len(q.Selector.Timezones) == 0:
		return broken(`"selector.timezones" must contain at least 1 items`)
	case len(q.Selector.Timezones) > maxJobsAtOnce:
		return broken(`"selector.timezones" must contain less than or equal to 100 items`)
	case len(q.Selector.DateRange) != 0 && len(q.Selector.DateRange) != 2:
		return broken(`"selector.dateRange" must contain 2 items`)
	}
	for _, c := range q.Selector.Contexts {
		if len(c.SecurityContext) > 0 {
			return &fault.Error{
				Kind: fault.Denied, Owner: fault.User,
				Detail: "A job builds for who posts it, under their own credential: leave selector.contexts[].securityContext empty, and post a job as each person instead.",
			}
		}
	}
	return nil
}

// days returns the range of q as wall time; nil for everything.
func (s jobSelector) days() (*sqlgen.Span, error) {
	if len(s.DateRange) == 0 {
		return nil, nil
	}
	var at [2]time.Time
	for i, text := range s.DateRange {
		var err error
		if at[i], err = time.Parse(time.DateOnly, text[:min(len(text), len(time.DateOnly))]); err != nil {
			return nil, fault.New(fault.Invalid, "Invalid Job query format: \"selector.dateRange[%d]\" must be a date such as 2026-01-31", i)
		}
	}
	return &sqlgen.Span{From: at[0], To: at[1].AddDate(0, 0, 1)}, nil
}

// selects reports whether a job is about a pre-aggregation of a cube, by its full name or its name in the cube.
func (s jobSelector) selects(c *datamodel.Cube, name string) bool {
	in := func(list []string, names ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(list, name) })
	}
	_, short, _ := strings.Cut(name, ".")
	return in(s.DataSources, c.DataSource) && in(s.Cubes, c.Name) && in(s.PreAggregations, name, short)
}

// count returns how many pre-aggregations of a model a job is about, in each time zone.
func (s jobSelector) count(m *datamodel.Model) (n int) {
	for _, c := range m.Cubes() {
		for _, pre := range c.PreAggregations {
			if pre.Type == datamodel.Rollup && s.selects(c, pre.FullName()) {
				n++
			}
		}
	}
	return n
}

// job is one that was posted: by whom, and what it builds.
type job struct {
	by       securitycontext.Principal
	rollup   orchestrator.RollupID
	table    string
	selector jobSelector
}

// jobs answers /v1/pre-aggregations/jobs.
func (h *Handler) jobs(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	var q jobQuery
	if err := readBody(r, &q, noJob); err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	if q.Action == "get" {
		return h.jobStates(w, sc, q)
	}
	days, err := q.Selector.days()
	if err != nil {
		return err
	}
	model, err := h.cfg.Model(r.Context(), sc)
	if err != nil {
		return err
	}
	switch n := q.Selector.count(model); {
	case n == 0:
		return fault.New(fault.Invalid, "A user's selector doesn't match any of the pre-aggregations defined in the data model.")
	case n*len(q.Selector.Timezones) > maxJobsAtOnce:
		return fault.New(fault.Invalid, "A job builds at most %d pre-aggregations, each time zone counted: name fewer in selector.preAggregations.", maxJobsAtOnce)
	}
	wanted := func(pre *datamodel.PreAggregation) bool {
		return q.Selector.selects(model.Cube(pre.Cube), pre.FullName())
	}
	rollups := make([][]*sqlgen.Rollup, len(q.Selector.Timezones))
	for i, zone := range q.Selector.Timezones {
		var misses []sqlgen.Miss
		if rollups[i], misses, err = sqlgen.Rollups(model, sc, zone, h.planOptions(sc, h.cfg.Now()), wanted); err != nil {
			return err
		}
		if len(rollups[i]) == 0 {
			return fault.New(fault.Invalid, "The pre-aggregation %s is not built: %s.", misses[0].Rollup, misses[0].Why)
		}
	}
	posted := []string{}
	for i, zone := range q.Selector.Timezones {
		for _, built := range rollups[i] {
			cube, _, _ := strings.Cut(built.Name, ".")
			token, err := h.post(r, sc, model.Cube(cube).DataSource, built, days, jobSelector{
				Contexts: []jobContext{{SecurityContext: map[string]any{}}}, Timezones: []string{zone},
				DataSources: []string{model.Cube(cube).DataSource}, Cubes: []string{cube}, PreAggregations: []string{built.Name},
			})
			if err != nil {
				return err
			}
			posted = append(posted, token)
		}
	}
	writeJSON(w, http.StatusOK, posted)
	return nil
}

// post has a rollup built, between days where they are given, and returns the token of the job.
func (h *Handler) post(r *http.Request, sc securitycontext.Context, dataSource string, built *sqlgen.Rollup, days *sqlgen.Span, selector jobSelector) (string, error) {
	src, err := h.cfg.Source(sc.Domain, dataSource)
	if err != nil {
		return "", err
	}
	if built.Partition != "" && days != nil {
		between := *built
		between.Range = days
		built = &between
	}
	id, err := h.cfg.Build(r.Context(), sc, orchestrator.Request{
		Source: src, Operation: driverfactory.UserQuery, Rollup: rollup(built, &sqlgen.Statement{}),
	})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %+v %x", sc.Principal.Key(), id.Scope, id.Structure))
	token := hex.EncodeToString(sum[:16])
	h.posted.Add(token, job{by: sc.Principal, rollup: id, table: built.Table, selector: selector})
	return token, nil
}

// Refresh plans a rollup that is in use anew, for who uses it and by the model that serves them now, has fetched what is out of
// date of it, and returns when that may be so again; zero for never. It fails with fault.Gone where there is no such rollup any
// more, or not one that is to be fetched before somebody asks.
func (h *Handler) Refresh(ctx context.Context, use orchestrator.RollupUse) (next time.Time, err error) {
	model, err := h.cfg.Model(ctx, use.By)
	if err != nil {
		return time.Time{}, err
	}
	wanted := func(pre *datamodel.PreAggregation) bool { return pre.FullName() == use.Name }
	rollups, _, err := sqlgen.Rollups(model, use.By, use.Zone, h.planOptions(use.By, h.cfg.Now()), wanted)
	if err != nil {
		return time.Time{}, err
	}
	if len(rollups) != 1 || !rollups[0].Scheduled {
		return time.Time{}, fault.New(fault.Gone, "There is no pre-aggregation %s any more that is fetched before somebody asks.", use.Name)
	}
	cube, _, _ := strings.Cut(use.Name, ".")
	src, err := h.cfg.Source(use.By.Domain, model.Cube(cube).DataSource)
	if err != nil {
		return time.Time{}, err
	}
	err = h.cfg.Refresh(ctx, use, orchestrator.Request{
		Source: src, Operation: driverfactory.UserQuery, Rollup: rollup(rollups[0], &sqlgen.Statement{}),
	})
	return rollups[0].Next(h.cfg.Now()), err
}

// jobStates answers how far jobs are. One of somebody else is not found.
func (h *Handler) jobStates(w http.ResponseWriter, sc securitycontext.Context, q jobQuery) error {
	type status struct {
		Token    string       `json:"token,omitempty"`
		Table    string       `json:"table,omitempty"`
		Status   string       `json:"status"`
		Selector *jobSelector `json:"selector,omitempty"`
	}
	of := func(token string) status {
		j, ok := h.posted.Get(token)
		if !ok || j.by != sc.Principal {
			return status{Status: "not_found"}
		}
		return status{Table: j.table, Status: h.jobState(j.rollup), Selector: &j.selector}
	}
	if q.ResType == "object" {
		all := map[string]status{}
		for _, token := range q.Tokens {
			all[token] = of(token)
		}
		writeJSON(w, http.StatusOK, all)
		return nil
	}
	all := []status{}
	for _, token := range q.Tokens {
		s := of(token)
		s.Token = token
		all = append(all, s)
	}
	writeJSON(w, http.StatusOK, all)
	return nil
}

// jobState writes the state of a build as Cube does. What a database said to the service account may quote rows that policies hide
// from who asks: no policy is in what is built.
func (h *Handler) jobState(id orchestrator.RollupID) string {
	switch state, err := h.cfg.Built(id); state {
	case orchestrator.BuildWaiting:
		return "scheduled"
	case orchestrator.BuildRunning:
		return "processing"
	case orchestrator.BuildDone:
		return "done"
	case orchestrator.BuildFailed:
		e, ok := errors.AsType[*fault.Error](err)
		switch {
		case ok && e.Owner == fault.Database && id.Scope.Service:
			return "failure: The source refused it to the service account (" + e.CodeOrKind() + ")."
		case ok && e.Detail != "":
			return "failure: " + e.Detail
		}
		return "failure: The source refused it. The log of the server says why."
	}
	return "missing_partition"
}

// readBody decodes the JSON body of a request, which is refused in these words where it holds nothing.
func readBody(r *http.Request, to any, nothing string) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(body)); text == "" || text == "{}" || text == "null" {
		return fault.New(fault.Invalid, "%s", nothing)
	}
	if err := json.Unmarshal(body, to); err != nil {
		return malformed(err)
	}
	return nil
}
