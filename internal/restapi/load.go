package restapi

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/behalf-project/behalf/orchestrator"
	"golang.org/x/sync/errgroup"
)

// load answers /v1/load (cube-rest-api.md §5).
func (h *Handler) load(w http.ResponseWriter, r *http.Request, sc securitycontext.Context) error {
	req, err := readRequest(r)
	if err != nil {
		return err
	}
	p, err := h.prepare(r.Context(), sc, req)
	if err != nil {
		return err
	}
	if p.batch.Type != query.Regular && req.QueryType == "" {
		return fault.New(fault.Invalid, "'%s' query type is not supported by the client.Please update the client.", p.batch.Type)
	}
	answers := make([]answered, len(p.queries))
	for i := range p.queries {
		q := &p.queries[i]
		answers[i].planned = q
		if answers[i].source, err = h.cfg.Source(sc.Domain, q.plan.DataSource); err != nil {
			return err
		}
	}
	defer closeAll(answers)
	if err := h.run(r, sc, answers); err != nil {
		return err
	}
	return h.encode(r, answers, func() error { return writeAnswer(w, p, answers, req.QueryType == "multi") })
}

// answered is one query with its results.
type answered struct {
	*planned
	source driverfactory.Source
	result *orchestrator.Result
	total  *orchestrator.Result // nil unless the query asks for a total
}

// closeAll says that the results of answers were read, where there are any.
func closeAll(answers []answered) {
	for _, a := range answers {
		a.result.Close()
		a.total.Close()
	}
}

// maxAnswer bounds the results of one request together. One alone is bounded by the orchestrator; a batch of a hundred
// would hold a hundred times that for one answer.
const maxAnswer = 64 << 20

// run answers all statements of one request, at once where there are several: each may have to wait by itself.
func (h *Handler) run(r *http.Request, sc securitycontext.Context, answers []answered) error {
	wait := h.waitTime(r)
	if a := &answers[0]; len(answers) == 1 && a.plan.Total == nil {
		return h.answer(r, sc, a, driverfactory.Statement{SQL: a.plan.SQL, Args: a.plan.Args}, a.rollup, wait, &a.result)
	}
	group, ctx := errgroup.WithContext(r.Context())
	r = r.WithContext(ctx)
	var size atomic.Int64
	run := func(a *answered, s driverfactory.Statement, rollup *orchestrator.Rollup, into **orchestrator.Result) {
		group.Go(func() error {
			if err := h.answer(r, sc, a, s, rollup, wait, into); err != nil {
				return err
			}
			if size.Add((*into).Bytes) > maxAnswer {
				return &fault.Error{Kind: fault.Invalid, Code: "result_too_large", Owner: fault.User, Detail: "The results of this request take more than " +
					strconv.Itoa(maxAnswer>>20) + " MiB together. Ask for them one by one."}
			}
			return nil
		})
	}
	for i := range answers {
		a := &answers[i]
		run(a, driverfactory.Statement{SQL: a.plan.SQL, Args: a.plan.Args}, a.rollup, &a.result)
		if t := a.plan.Total; t != nil {
			run(a, statement(*t), a.totalRollup, &a.total)
		}
	}
	return group.Wait()
}

// answer has one statement answered.
func (h *Handler) answer(r *http.Request, sc securitycontext.Context, a *answered, s driverfactory.Statement, rollup *orchestrator.Rollup, wait time.Duration, into **orchestrator.Result) (err error) {
	*into, err = h.cfg.Load(r.Context(), sc, orchestrator.Request{
		Source: a.source, Statement: s, Operation: driverfactory.UserQuery,
		Cache: orchestrator.CacheMode(a.query.CacheMode), FreshFor: a.plan.FreshFor, FreshSince: a.plan.FreshSince, RefreshKeys: a.refreshKeys,
		Rollup: rollup, MaxRows: h.cfg.MaxLimit, RequestID: httpserver.RequestID(r.Context()), Wait: wait,
	})
	return err
}

// body is an answer in parts. The rows of a result are written as the cache holds them, and never copied: many who ask
// for the same large result hold it once. Rows that the cache does not hold encoded are encoded as they are written, so
// that an answer never exists as a whole.
type body struct {
	parts []part
	own   []byte // what is appended to the last part
}

// part is bytes that are not ours to change, or rows that write themselves.
type part struct {
	bytes []byte
	write func(io.Writer) error
}

// share adds what was appended, and then p.
func (b *body) share(p part) {
	if len(b.own) > 0 {
		b.parts = append(b.parts, part{bytes: b.own})
		b.own = make([]byte, 0, 256)
	}
	b.parts = append(b.parts, p)
}

// writeTo writes the parts, with their length where it is known before they are written.
func (b *body) writeTo(w http.ResponseWriter) {
	parts, size, known := append(b.parts, part{bytes: b.own}), 0, true
	for _, p := range parts {
		size += len(p.bytes)
		known = known && p.write == nil
	}
	if known {
		w.Header().Set("Content-Length", strconv.Itoa(size))
	}
	for _, p := range parts {
		var err error
		if p.write != nil {
			err = p.write(w)
		} else {
			_, err = w.Write(p.bytes)
		}
		if err != nil {
			// The client left, or has not taken the answer for too long. Without a length it could not tell half an
			// answer from a whole one: the connection is cut.
			panic(http.ErrAbortHandler)
		}
	}
}

// encode has the answer to r written.
func (h *Handler) encode(r *http.Request, answers []answered, write func() error) (err error) {
	_, end := h.cfg.Stage.Begin(r.Context(), driverfactory.Encode, time.Now())
	src := driverfactory.Source{}
	if len(answers) > 0 {
		src = answers[0].source
	}
	defer func() { end(src, err) }() // where the client left, too
	return write()
}

// writeAnswer writes the results in the single or in the multi envelope (cube-rest-api.md §5.4, §5.5).
func writeAnswer(w http.ResponseWriter, p *prepared, answers []answered, multi bool) error {
	var ran []*orchestrator.Result
	out := &body{own: make([]byte, 0, 256)}
	slow := false
	if multi {
		out.own = append(out.own, `{"queryType":"`...)
		out.own = append(append(out.own, p.batch.Type...), `","results":[`...)
	}
	for i := range answers {
		a := &answers[i]
		if i > 0 {
			out.own = append(out.own, ',')
		}
		if err := out.add(a); err != nil {
			return err
		}
		slow = slow || a.result.Stale
		ran = append(ran, a.result)
		if a.total != nil {
			ran = append(ran, a.total)
		}
	}
	if multi {
		out.own = append(append(out.own, `],"pivotQuery":`...), p.pivot...)
		out.own = append(out.own, `,"slowQuery":`...)
		out.own = strconv.AppendBool(out.own, slow)
		if same, ok := sameIdentity(answers); ok {
			out.own = appendRunAs(append(out.own, `,"runAs":`...), same)
		}
		out.own = append(out.own, '}')
	}
	setRunAs(w.Header(), ran)
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	out.writeTo(w)
	return nil
}

// sameIdentity returns the identity that ran all the statements, if it was one.
func sameIdentity(answers []answered) (driverfactory.RunAs, bool) {
	for _, a := range answers {
		if a.result.RunAs != answers[0].result.RunAs {
			return driverfactory.RunAs{}, false
		}
	}
	return answers[0].result.RunAs, true
}

// add adds one result: what is known of every answer to its query, what is of this one, and the rows, which were
// encoded once if they come from the cache.
func (b *body) add(a *answered) error {
	if err := fits(a.result.Rows, a.rows.cells); err != nil {
		return err
	}
	write := func(w io.Writer) error { return a.rows.write(w, a.result.Rows) }
	encoded, kept, err := a.result.Encoded(a.rowsID, write)
	if err != nil {
		return err
	}
	b.share(part{bytes: a.head})
	out := append(b.own, `,"lastRefreshTime":"`...)
	out = a.result.RefreshedAt.UTC().AppendFormat(out, isoMillis)
	out = append(out, `","slowQuery":`...)
	out = strconv.AppendBool(out, a.result.Stale)
	out = append(out, `,"external":`...)
	out = strconv.AppendBool(out, external(a.result.Rollups))
	if used := a.result.Rollups; len(used) > 0 {
		out = appendUsed(append(out, `,"usedPreAggregations":`...), used)
	}
	if a.total != nil {
		n, err := totalCount(a.total)
		if err != nil {
			return err
		}
		out = strconv.AppendInt(append(out, `,"total":`...), n, 10)
	}
	out = appendRunAs(append(out, `,"runAs":`...), a.result.RunAs)
	out = append(out, `,"cached":`...)
	out = strconv.AppendBool(out, a.result.Cached)
	if a.result.OfRole {
		out = append(out, `,"cacheScope":"role"`...)
	}
	if a.showKeys && len(a.result.RefreshKeys) > 0 {
		out = appendRefreshKeys(append(out, `,"refreshKeyValues":`...), a.result.RefreshKeys)
	}
	b.own = append(out, `,"data":`...)
	if !kept {
		b.share(part{write: write})
	}
	for _, bytes := range encoded {
		b.share(part{bytes: bytes})
	}
	b.own = append(b.own, '}')
	return nil
}

// totalCount reads the one number of a total's result.
func totalCount(r *orchestrator.Result) (int64, error) {
	if r.Rows.Len() == 1 && r.Rows.Columns() == 1 {
		switch v := r.Rows.First()[0].(type) {
		case int64:
			return v, nil
		case driverfactory.Decimal:
			return strconv.ParseInt(string(v), 10, 64)
		case string:
			return strconv.ParseInt(v, 10, 64)
		}
	}
	return 0, fault.New(fault.Unavailable, "The data source answered the count of rows with something that is no number.")
}
