package adminapi

import (
	"context"
	"strconv"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/internal/tokens"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/orchestrator"
)

// Queries are the statements that wait or run in this process. orchestrator.Orchestrators has them.
type Queries interface {
	Queries(v orchestrator.Viewer, after string, limit int) (list []orchestrator.Query, next string)
	CancelQuery(ctx context.Context, id string, v orchestrator.Viewer) (orchestrator.CanceledQuery, error)
}

// Orchestrators are those that are open in this process. orchestrator.Orchestrators are.
type Orchestrators interface {
	List(after string, limit int) (list []orchestrator.Open, next string)
	Stats() orchestrator.Stats
	Drain(id string) (orchestrator.Drained, error)
	Flush(ctx context.Context, id string) (orchestrator.Flushed, error)
}

// Bounds are what the totals of orchestrators stand against. 0 is a bound that is not known.
type Bounds struct {
	Orchestrators int
	Sessions      int
}

// PreAggregations are the rollups that this process keeps. orchestrator.Orchestrators has them.
type PreAggregations interface {
	Rollups(v orchestrator.Viewer, after string, limit int) (list []orchestrator.Stored, next string)
}

// Everybodys says whose things are wanted. It is exported because huma reads the parameters of an embedded struct only then.
type Everybodys struct {
	All bool `query:"all" doc:"Everybody's, and not only your own: for admins, and with a token for those with the scope operate."`
}

// viewer is on whose behalf the caller looks or acts. Everybody's is for admins, whose token, if they carry one, has the scope
// for it.
func (e Everybodys) viewer(ctx context.Context) (orchestrator.Viewer, error) {
	c := from(ctx)
	if !e.All {
		return orchestrator.Viewer{Principal: c.user.Principal()}, nil
	}
	if err := c.operates(); err != nil {
		return orchestrator.Viewer{}, err
	}
	return orchestrator.Viewer{All: true}, nil
}

// operates refuses who may not see and stop what runs for everybody.
func (c caller) operates() error {
	if c.token.ID != "" && !c.token.Allows(tokens.Operate) {
		return &fault.Error{Kind: fault.Denied, Code: "insufficient_scope", Owner: fault.User, Params: map[string]string{"scope": string(tokens.Operate)},
			Detail: "This token lacks the scope operate. Make one that has it."}
	}
	return c.admin()
}

// admin refuses who is none.
func (c caller) admin() error {
	if c.user.Has(users.Admin) {
		return nil
	}
	return &fault.Error{Kind: fault.Denied, Code: "admin_required", Owner: fault.Admin,
		Detail: "Only an admin may do this. You are signed in as " + c.user.Username + ", who is not one."}
}

// looks is viewer for a list: that an admin looked at everybody's is recorded, or they are not shown it.
func (h *Handler) looks(ctx context.Context, e Everybodys, operation string) (orchestrator.Viewer, error) {
	v, err := e.viewer(ctx)
	if err == nil && v.All {
		err = h.recordLook(ctx, operation, "ok")
	}
	return v, err
}

// Page is which part of a list is wanted. It is exported because huma reads the parameters of an embedded struct only then.
type Page struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"200" doc:"How many at most."`
	Cursor string `query:"cursor" maxLength:"300" doc:"The next_cursor of the page before."`
}

// link is the Link header to the next page (RFC 8288), empty when there is none.
func link(ctx context.Context, cursor string) string {
	if cursor == "" {
		return ""
	}
	at := from(ctx).request.URL
	q := at.Query()
	q.Set("cursor", cursor)
	return "<" + at.Path + "?" + q.Encode() + `>; rel="next"`
}

// person is somebody, as far as it is known: their id, for people of other issuers with that, and their username.
func (h *Handler) person(ctx context.Context, p driverfactory.Principal, username string, known map[string]string) Person {
	if name := h.nameOf(ctx, p.Subject, known); p.Realm == securitycontext.Local && name != "" {
		username = name
	}
	return Person{Principal: principal(p), Username: username}
}

// principal writes p for people: the id of one of this server, and of others the issuer before it.
func principal(p driverfactory.Principal) string {
	switch {
	case p.Anonymous():
		return ""
	case p.Realm == securitycontext.Local:
		return p.Subject
	}
	return p.Realm + " " + p.Subject
}

type listQueriesInput struct {
	Everybodys
	Page
}

type listQueriesOutput struct {
	Link string `header:"Link" doc:"The next page (RFC 8288)."`
	Body QueryList
}

// listQueries lists what waits or runs.
func (h *Handler) listQueries(ctx context.Context, in *listQueriesInput) (*listQueriesOutput, error) {
	v, err := h.looks(ctx, in.Everybodys, "list-queries")
	if err != nil {
		return nil, err
	}
	list, next := h.cfg.Queries.Queries(v, in.Cursor, in.Limit)
	out := &listQueriesOutput{Link: link(ctx, next), Body: QueryList{Items: make([]Query, 0, len(list)), NextCursor: next}}
	names := map[string]string{}
	for _, q := range list {
		out.Body.Items = append(out.Body.Items, h.query(ctx, q, names))
	}
	return out, nil
}

func (h *Handler) query(ctx context.Context, q orchestrator.Query, names map[string]string) Query {
	return Query{
		ID: q.ID, Person: h.person(ctx, q.Principal, q.Username, names), RequestID: q.RequestID, DataSource: q.Source, Domain: q.Domain,
		Kind: string(q.Kind), Of: q.Of, Statement: q.Statement, RunAs: string(q.Identity), Account: q.Account,
		State: string(q.Stage), Place: q.Place, AskedAt: optional(q.Asked), Since: q.Since, Askers: q.Askers,
	}
}

type cancelQueryInput struct {
	ID string `path:"id" maxLength:"100" example:"qry_01jc3v4k9e8r7x2m5n0q6t1w3y"`
	Everybodys
}

type cancelQueryOutput struct{ Body CanceledQuery }

// cancelQuery stops a query. It is recorded once it was done: what runs away is stopped whether it can be recorded or not.
func (h *Handler) cancelQuery(ctx context.Context, in *cancelQueryInput) (*cancelQueryOutput, error) {
	v, err := in.viewer(ctx)
	if err != nil {
		return nil, err
	}
	c, err := h.cfg.Queries.CancelQuery(ctx, in.ID, v)
	if err != nil {
		return nil, err
	}
	// The caller may have hung up while the driver let go.
	if err := h.acted(context.WithoutCancel(ctx), audit.QueryCanceled, c.Query.ID, map[string]string{
		"principal": principal(c.Query.Principal), "request_id": c.Query.RequestID, "data_source": c.Query.Source,
		"statement": c.Query.Statement, "confirmed": strconv.FormatBool(c.Confirmed),
	}); err != nil {
		return nil, err
	}
	return &cancelQueryOutput{CanceledQuery{Query: h.query(ctx, c.Query, map[string]string{}), GoesOn: c.GoesOn, Confirmed: c.Confirmed}}, nil
}

// acted records what the caller did to what runs.
func (h *Handler) acted(ctx context.Context, action audit.Action, object string, detail map[string]string) error {
	return h.cfg.Record(ctx, audit.Entry{
		Actor: from(ctx).user.ID, Action: action, Object: object, Outcome: "ok", Detail: detail, Request: httpserver.RequestID(ctx),
	})
}

type listOrchestratorsInput struct{ Page }

type listOrchestratorsOutput struct {
	Link string `header:"Link" doc:"The next page (RFC 8288)."`
	Body OrchestratorList
}

// listOrchestrators lists those that are open.
func (h *Handler) listOrchestrators(ctx context.Context, in *listOrchestratorsInput) (*listOrchestratorsOutput, error) {
	list, next := h.cfg.Orchestrators.List(in.Cursor, in.Limit)
	out := &listOrchestratorsOutput{Link: link(ctx, next), Body: OrchestratorList{
		Items: make([]Orchestrator, 0, len(list)), Totals: h.totals(), NextCursor: next,
	}}
	names := map[string]string{}
	for _, o := range list {
		out.Body.Items = append(out.Body.Items, h.orchestrator(ctx, o, names))
	}
	return out, nil
}

func (h *Handler) orchestrator(ctx context.Context, o orchestrator.Open, names map[string]string) Orchestrator {
	item := Orchestrator{
		ID: o.ID, Name: o.Name, Username: o.Username, People: make([]Person, 0, len(o.People)), MorePeople: o.Crowded, State: string(o.State),
		Sessions: OpenSessions{Open: o.SessionsOpen, Idle: o.SessionsIdle}, Waiting: o.Waiting, Running: o.Running,
		Cache: OrchestratorCache{Results: o.Results, Bytes: o.ResultBytes}, UsedAt: o.UsedAt,
	}
	for _, p := range o.People {
		item.People = append(item.People, h.person(ctx, p, "", names))
	}
	return item
}

// totals are those of this process, and what bounds them.
func (h *Handler) totals() Totals {
	s := h.cfg.Orchestrators.Stats()
	of := s.Orchestrators
	return Totals{
		Orchestrators: of.Cold + of.Warm + of.Busy + of.Draining, MaxOrchestrators: h.cfg.Bounds.Orchestrators,
		Sessions: TotalSessions{
			OpenSessions: OpenSessions{Open: s.Sessions.Open, Idle: s.Sessions.Idle}, Waiting: s.Sessions.Waiting, Max: h.cfg.Bounds.Sessions,
		},
		Waiting: s.Queued, Running: s.Running,
		Cache: TotalCache{OrchestratorCache: OrchestratorCache{Results: s.Cache.Entries, Bytes: s.Cache.Bytes}, MaxBytes: s.Cache.MaxBytes},
	}
}

type orchestratorInput struct {
	ID string `path:"id" maxLength:"100" example:"orc_5e884898da28047151d0e56f"`
}

type drainOutput struct{ Body Drained }

// drainOrchestrator closes what is idle of one.
func (h *Handler) drainOrchestrator(ctx context.Context, in *orchestratorInput) (*drainOutput, error) {
	d, err := h.cfg.Orchestrators.Drain(in.ID)
	if err != nil {
		return nil, err
	}
	out := &drainOutput{Drained{Name: d.Name, Closed: d.Closed, Under: d.Under}}
	return out, h.acted(ctx, audit.OrchestratorDrained, in.ID, map[string]string{"name": d.Name, "closed": strconv.Itoa(d.Closed)})
}

type flushOutput struct{ Body Flushed }

// flushOrchestrator drops what is kept for the people of one.
func (h *Handler) flushOrchestrator(ctx context.Context, in *orchestratorInput) (*flushOutput, error) {
	d, err := h.cfg.Orchestrators.Flush(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &flushOutput{Flushed{Name: d.Name, Results: d.Results, PreAggregations: d.Rollups}}
	return out, h.acted(ctx, audit.OrchestratorFlushed, in.ID, map[string]string{
		"name": d.Name, "results": strconv.Itoa(d.Results), "pre_aggregations": strconv.Itoa(d.Rollups),
	})
}

type listPreAggregationsInput struct {
	Everybodys
	Page
}

type listPreAggregationsOutput struct {
	Link string `header:"Link" doc:"The next page (RFC 8288)."`
	Body PreAggregationList
}

// listPreAggregations lists what is kept and built.
func (h *Handler) listPreAggregations(ctx context.Context, in *listPreAggregationsInput) (*listPreAggregationsOutput, error) {
	v, err := h.looks(ctx, in.Everybodys, "list-preaggregations")
	if err != nil {
		return nil, err
	}
	list, next := h.cfg.PreAggregations.Rollups(v, in.Cursor, in.Limit)
	out := &listPreAggregationsOutput{Link: link(ctx, next), Body: PreAggregationList{Items: make([]PreAggregation, 0, len(list)), NextCursor: next}}
	names := map[string]string{}
	for _, s := range list {
		out.Body.Items = append(out.Body.Items, PreAggregation{
			ID: s.ID, Name: s.Name, Owner: h.person(ctx, s.Scope.Principal, "", names), Shared: s.Scope.Service, DataSource: s.Scope.Source,
			Domain: s.Scope.Domain, State: string(s.State), Structure: s.Structure, Partitions: s.Partitions, Rows: s.Rows, Bytes: s.Bytes,
			OldestBuiltAt: optional(s.Oldest), BuiltAt: optional(s.Built),
		})
	}
	return out, nil
}
