package snowflake

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"github.com/behalf-project/behalf/internal/secret"
)

// query is a statement of a session and, once it is done, its answer.
type query struct {
	id     string
	user   string
	cancel func(cause error)
	done   chan struct{} // closed when answer and chunks are set

	answer   envelope
	chunks   []chunk
	chunkKey secret.Text // of the header that fetches the chunks
}

var errCanceled = errors.New("SQL execution canceled")

type queryRequest struct {
	SQL          string             `json:"sqlText"`
	DescribeOnly bool               `json:"describeOnly"`
	Async        bool               `json:"asyncExec"`
	Bindings     map[string]binding `json:"bindings"`
}

type binding struct {
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// query runs a statement, or finds the one that the same request began before: a retry must not run it twice.
func (s *Server) query(w http.ResponseWriter, r *http.Request, found *session) {
	var req queryRequest
	if !decode(w, r, &req) {
		return
	}
	if req.Async {
		fail(w, "000002", "the sandbox runs no queries in the background")
		return
	}
	args, err := arguments(req.Bindings)
	if err != nil {
		fail(w, "100037", err.Error())
		return
	}
	q, how, code := s.begin(r, found, req, args)
	switch {
	case code != "":
		fail(w, code, "the session has ended, or runs too many queries")
	case how.cuts > 0:
		select {
		case <-q.done:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case how.polling:
		q.respond(w, r, 0)
	default:
		q.respond(w, r, answerWithin)
	}
}

// begin starts a query, unless its request did so before, and returns the levers that count for it; or the code of a
// refusal.
func (s *Server) begin(r *http.Request, found *session, req queryRequest, args []any) (q *query, how levers, refused string) {
	requestID := r.URL.Query().Get("requestId")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[found.id] != found {
		return nil, levers{}, "390111"
	}
	if q := found.requests[requestID]; q != nil && requestID != "" {
		return q, levers{}, ""
	}
	s.forgetOld(found)
	if len(found.order) >= maxQueries {
		return nil, levers{}, "000625"
	}
	// The query outlives the request that began it: it is polled for by others.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	ctx, stop := context.WithTimeout(ctx, queryLife)
	q = &query{id: newQueryID(), user: found.user, cancel: func(cause error) { cancel(cause); stop() }, done: make(chan struct{}),
		chunkKey: secret.New(rand.Text())}
	found.requests[requestID] = q
	found.order = append(found.order, q)
	s.queries[q.id] = q
	if how = s.levers; how.cuts > 0 {
		s.levers.cuts--
	}
	run := engine.Query{ID: q.id, Warehouse: "snowflake", Identity: found.user, Dialect: engine.Snowflake, SQL: req.SQL, Args: args, TimeZone: found.zone.String(),
		Role: found.role, SecondaryRoles: found.secondary}
	names := [...]string{found.database, found.schema, found.warehouse, found.role}
	base := "http://" + r.Host
	s.running.Go(func() {
		defer close(q.done)
		defer q.cancel(nil)
		q.run(ctx, s.engine, run, req.DescribeOnly, found.zone, names, base)
	})
	return q, how, ""
}

// forgetOld keeps the last queries of a session, and those that run; s.mu is held.
func (s *Server) forgetOld(found *session) {
	for len(found.order) > keepQueries {
		old := found.order[0]
		select {
		case <-old.done:
		default:
			return
		}
		found.order = found.order[1:]
		delete(s.queries, old.id)
		for id, q := range found.requests {
			if q == old {
				delete(found.requests, id)
			}
		}
	}
}

func newQueryID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// respond waits for the query for a while. The client asks again at once when it gets 333333, so this wait is its pause.
func (q *query) respond(w http.ResponseWriter, r *http.Request, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-q.done:
		if wait > 0 {
			writeJSON(w, q.answer)
			return
		}
	case <-timer.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler) // an empty answer could still reach the caller that has just given up
	}
	code := "333333"
	writeJSON(w, envelope{Code: &code, Message: "Query execution in progress", Data: map[string]any{
		"getResultUrl": "/queries/" + q.id + "/result", "queryId": q.id, "progressDesc": nil,
	}})
}

// result is the poll for a query that answered 333333.
func (s *Server) result(w http.ResponseWriter, r *http.Request, found *session) {
	id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/queries/"), "/result")
	s.mu.Lock()
	q := s.queries[id]
	mine := q != nil && q.user == found.user
	s.mu.Unlock()
	if !mine {
		fail(w, "000710", "Query "+id+" does not exist")
		return
	}
	q.respond(w, r, answerWithin)
}

// abort cancels the query of a request id.
func (s *Server) abort(w http.ResponseWriter, r *http.Request, found *session) {
	var req struct {
		RequestID string `json:"requestId"`
	}
	if !decode(w, r, &req) {
		return
	}
	s.mu.Lock()
	q := found.requests[req.RequestID]
	s.mu.Unlock()
	if q == nil {
		fail(w, "000605", "Identified SQL statement is not currently executing.")
		return
	}
	q.cancel(errCanceled)
	succeed(w, nil)
}

func (q *query) run(ctx context.Context, e *engine.Engine, run engine.Query, describe bool, zone *time.Location, names [4]string, base string) {
	rows, err := e.Query(ctx, run)
	if err != nil {
		q.failed(err)
		return
	}
	res := newResult(rows.Columns, zone)
	for !describe && rows.Next() {
		if err = res.add(rows.Values()); err != nil {
			break
		}
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err == nil {
		err = res.finish()
	}
	if err != nil {
		q.failed(err)
		return
	}
	kind := 0x1000
	if rows.Defines() {
		kind = 0x6000
	}
	if rows.Writes() {
		word, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(run.SQL)), " ")
		kind = map[string]int{"insert": 0x3100, "update": 0x3200, "delete": 0x3300}[word]
		if kind == 0 {
			kind = 0x3000
		}
		res.rowtype[0]["name"] = "number of rows affected"
	}
	q.chunks = res.chunks
	data := map[string]any{
		"parameters": []any{}, "rowtype": res.rowtype, "rowset": json.RawMessage(res.inline), "total": res.total, "returned": res.total,
		"queryId": q.id, "queryResultFormat": "json", "statementTypeId": kind, "version": 1,
		"finalDatabaseName": names[0], "finalSchemaName": names[1], "finalWarehouseName": names[2], "finalRoleName": names[3],
	}
	if len(q.chunks) > 0 {
		list := make([]map[string]any, len(q.chunks))
		for i, c := range q.chunks {
			list[i] = map[string]any{"url": fmt.Sprintf("%s/chunks/%s/%d", base, q.id, i), "rowCount": c.rows, "uncompressedSize": c.size, "compressedSize": len(c.gzip)}
		}
		data["chunks"], data["chunkHeaders"] = list, map[string]string{chunkKeyHeader: q.chunkKey.Reveal()}
	}
	q.answer = envelope{Success: true, Data: data}
}

// failed makes the answer of a query that failed: the number and the SQLSTATE that Snowflake has for it.
func (q *query) failed(err error) {
	code, state, message := "300002", "XX000", "Internal error: "+err.Error()
	failed, ok := errors.AsType[*engine.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		code, state, message = "000630", "57014", "Statement reached its statement or warehouse timeout and was canceled."
	case errors.Is(err, context.Canceled), ok && failed.Kind == engine.Canceled:
		code, state, message = "000604", "57014", errCanceled.Error()
	case !ok:
	case failed.Kind == engine.NotAllowed:
		code, state = "003001", "42501"
		message = "SQL access control error:\nInsufficient privileges to operate on table '" + strings.ToUpper(failed.Object) + "'"
	case failed.Kind == engine.TableAbsent:
		code, state = "002003", "42S02"
		message = "SQL compilation error:\nObject '" + strings.ToUpper(failed.Object) + "' does not exist or not authorized."
		if failed.Object == "" {
			message = "SQL compilation error:\n" + failed.Message
		}
	case failed.Kind == engine.SchemaAbsent:
		code, state = "002003", "02000"
		message = "SQL compilation error:\nSchema '" + strings.ToUpper(failed.Object) + "' does not exist or not authorized."
	case failed.Kind == engine.Exists:
		code, state = "002002", "42710"
		message = "SQL compilation error:\nObject '" + strings.ToUpper(failed.Object) + "' already exists."
	case failed.Kind == engine.NoColumn:
		code, state, message = "000904", "42000", "SQL compilation error: "+failed.Message
	case failed.Kind == engine.Syntax:
		code, state, message = "001003", "42000", "SQL compilation error:\n"+failed.Message
	default:
		code, state, message = "100038", "22018", failed.Message
	}
	q.answer = envelope{Code: &code, Message: message, Data: map[string]any{"sqlState": state, "queryId": q.id, "errorCode": code}}
}

// arguments reads the bindings "1", "2", ….
func arguments(bindings map[string]binding) ([]any, error) {
	args := make([]any, len(bindings))
	for i := range args {
		b, ok := bindings[strconv.Itoa(i+1)]
		if !ok {
			return nil, fmt.Errorf("bind variable %d is not set", i+1)
		}
		var text *string
		if err := json.Unmarshal(b.Value, &text); err != nil && len(b.Value) > 0 {
			return nil, fmt.Errorf("bind variable %d is no single value", i+1)
		}
		if text == nil {
			continue
		}
		v, err := argument(b.Type, *text)
		if err != nil {
			return nil, fmt.Errorf("bind variable %d is no %s", i+1, b.Type)
		}
		args[i] = v
	}
	return args, nil
}

func argument(kind, text string) (any, error) {
	switch strings.ToUpper(kind) {
	case "FIXED":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if _, ok := new(big.Rat).SetString(text); !ok || len(text) > 100 {
			return nil, errors.New("no number")
		}
		return text, nil // DuckDB casts the text of a decimal, exactly
	case "REAL":
		return strconv.ParseFloat(text, 64)
	case "BOOLEAN":
		return strconv.ParseBool(text)
	case "BINARY":
		return hex.DecodeString(text)
	case "DATE":
		ms, err := strconv.ParseInt(text, 10, 64)
		return time.UnixMilli(ms).UTC(), err
	case "TIME":
		ns, err := strconv.ParseInt(text, 10, 64)
		return time.Unix(0, ns).UTC().Format("15:04:05.999999999"), err
	case "TIMESTAMP_NTZ", "TIMESTAMP_LTZ", "TIMESTAMP_TZ":
		text, _, _ = strings.Cut(text, " ") // an offset may follow; the instant is what counts
		ns, err := strconv.ParseInt(text, 10, 64)
		return time.Unix(0, ns).UTC(), err
	}
	return text, nil
}
