package databricks

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/sandbox/bearer"
	"github.com/behalf-project/behalf/internal/sandbox/engine"
	"go.uber.org/zap"
)

// operation is a statement of a session, from ExecuteStatement until it is closed.
type operation struct {
	handle  operationHandle
	session string // its GUID
	holder  bearer.Holder
	zone    *time.Location
	cancel  func(cause error)
	done    chan struct{} // closed when the statement has run: rows or err are set

	mu       sync.Mutex
	rows     *engine.Rows // nil when it failed, or is closed
	columns  []engine.Column
	ahead    bool // the next row is read and not sent
	offset   int64
	modified int64
	err      error
}

var (
	errKilled   = errors.New("Query was killed by an administrator")
	errCanceled = errors.New("Query was canceled")
	errTimeout  = errors.New("Query has been timed out due to inactivity or its timeout")
)

func (s *Server) executeStatement(ctx context.Context, h bearer.Holder, req *executeStatementReq) (*executeStatementResp, error) {
	args, err := arguments(req.Parameters)
	if err != nil {
		return &executeStatementResp{Status: status{Code: statusError, SQLState: "22023", ErrorMessage: err.Error(), DisplayMessage: err.Error()}}, nil
	}
	op, polling, cut, err := s.begin(ctx, h, req, args)
	if err != nil {
		return nil, err
	}
	if op == nil {
		text := "Invalid SessionHandle: SessionHandle [" + guid(req.Session.ID) + "]"
		return &executeStatementResp{Status: status{Code: statusError, SQLState: "HY000", ErrorMessage: text, DisplayMessage: text}}, nil
	}
	wait := time.NewTimer(directWait)
	defer wait.Stop()
	if polling {
		wait.Reset(0)
	}
	select {
	case <-op.done:
	case <-wait.C:
	case <-ctx.Done(): // the client hung up, and has no handle to cancel by
		s.drop(op)
		return nil, errCut
	}
	if cut {
		s.drop(op)
		return nil, errCut
	}
	resp := &executeStatementResp{Operation: &op.handle}
	if req.DirectResults == nil {
		return resp, nil
	}
	resp.DirectResults = &directResults{Status: op.status()}
	if polling {
		resp.DirectResults.Status = operationStatusResp{State: stateRunning, HasResultSet: true}
	}
	if resp.DirectResults.Status.State == stateFinished {
		resp.DirectResults.Metadata = op.metadata()
		resp.DirectResults.Results = op.fetch(req.DirectResults.MaxRows)
		if !resp.DirectResults.Results.HasMore {
			resp.DirectResults.Closed = &statusResp{}
			s.drop(op)
		}
	}
	return resp, nil
}

// begin starts the statement in its session. It returns no operation for a session that is lost when that is to be
// answered in Thrift.
func (s *Server) begin(ctx context.Context, h bearer.Holder, req *executeStatementReq, args []any) (op *operation, polling, cut bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.find(h, req.Session.ID)
	switch {
	case err != nil && s.levers.lostStatus:
		return nil, false, false, nil
	case err != nil:
		return nil, false, false, err
	case len(found.operations) >= maxOperations:
		return nil, false, false, &refusal{http.StatusTooManyRequests, "RESOURCE_EXHAUSTED: too many open statements in the session"}
	}
	life := statementLife
	if req.QueryTimeout > 0 {
		life = min(life, time.Duration(min(req.QueryTimeout, int64(statementLife/time.Second)))*time.Second)
	}
	// The statement outlives the request that began it: it is polled for and its rows are fetched by others.
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	run, stop := context.WithTimeoutCause(run, life, errTimeout)
	op = &operation{
		handle: operationHandle{ID: newHandle(), HasResultSet: true}, session: string(req.Session.ID.GUID), holder: h, zone: found.zone,
		cancel: func(cause error) { cancel(cause); stop() }, done: make(chan struct{}),
	}
	found.operations[string(op.handle.ID.GUID)] = op
	s.operations[string(op.handle.ID.GUID)] = op
	cut = s.levers.cuts > 0
	if cut {
		s.levers.cuts--
	}
	q := engine.Query{ID: guid(op.handle.ID), Warehouse: "databricks", Identity: h.Name, Dialect: engine.Databricks, SQL: req.Statement,
		Args: args, TimeZone: found.zone.String()}
	s.running.Go(func() {
		op.run(run, s.engine, q)
		s.log.Debug("statement", zap.String("user", h.Name), zap.String("query_id", q.ID))
	})
	return op, s.levers.polling, cut, nil
}

func (op *operation) run(ctx context.Context, e *engine.Engine, q engine.Query) {
	defer close(op.done)
	rows, err := e.Query(ctx, q)
	op.mu.Lock()
	defer op.mu.Unlock()
	if err == nil && ctx.Err() != nil { // closed between its end and here
		err = ctx.Err()
		_ = rows.Close()
	}
	if err != nil {
		op.err = err
		if cause := context.Cause(ctx); cause != nil {
			op.err = cause
		}
		return
	}
	op.rows, op.columns = rows, rows.Columns
	if rows.Writes() {
		op.columns = []engine.Column{{Name: "num_affected_rows", Type: engine.Int64}}
	}
	if op.ahead = rows.Next(); op.ahead && rows.Writes() {
		op.modified, _ = rows.Values()[0].(int64)
	}
	op.err = rows.Err()
}

// close ends the operation, whatever it is doing, and returns when it has.
func (op *operation) close() { op.end(errCanceled) }

func (op *operation) end(cause error) {
	op.cancel(cause)
	<-op.done
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.rows != nil {
		_ = op.rows.Close()
		op.rows, op.ahead = nil, false
	}
	if op.err == nil {
		op.err = cause
	}
}

// kill ends the operation if it is still running or being read, and reports whether it was.
func (op *operation) kill() bool {
	op.mu.Lock()
	over := op.err != nil
	op.mu.Unlock()
	if over {
		return false
	}
	op.end(errKilled)
	return true
}

// drop closes op and takes it out of its session.
func (s *Server) drop(op *operation) {
	s.mu.Lock()
	if found := s.sessions[op.session]; found != nil {
		delete(found.operations, string(op.handle.ID.GUID))
	}
	delete(s.operations, string(op.handle.ID.GUID))
	s.mu.Unlock()
	op.close()
}

// operation returns an operation of h, or nil. One of another identity is as unknown as one that never was.
func (s *Server) operation(h bearer.Holder, id handleID) *operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	op := s.operations[string(id.GUID)]
	if op == nil || string(op.handle.ID.Secret) != string(id.Secret) || op.holder.Name != h.Name || op.holder.Service != h.Service {
		return nil
	}
	s.sessions[op.session].lastUse = time.Now()
	return op
}

func invalidOperation(id handleID) status {
	return status{Code: statusInvalidHandle, SQLState: "HY000", ErrorMessage: "Invalid OperationHandle: OperationHandle [" + guid(id) + "]"}
}

func (s *Server) operationStatus(h bearer.Holder, req *operationReq) (*operationStatusResp, error) {
	op := s.operation(h, req.Operation.ID)
	if op == nil {
		return &operationStatusResp{Status: invalidOperation(req.Operation.ID), State: stateError}, nil
	}
	resp := op.status()
	return &resp, nil
}

func (s *Server) metadata(h bearer.Holder, req *operationReq) (*metadataResp, error) {
	op := s.operation(h, req.Operation.ID)
	if op == nil {
		return &metadataResp{Status: invalidOperation(req.Operation.ID), Schema: &tableSchema{Columns: []columnDesc{}}}, nil
	}
	return op.metadata(), nil
}

func (s *Server) fetchResults(h bearer.Holder, req *fetchResultsReq) (*fetchResultsResp, error) {
	op := s.operation(h, req.Operation.ID)
	if op == nil {
		return &fetchResultsResp{Status: invalidOperation(req.Operation.ID), Results: emptyRowSet()}, nil
	}
	return op.fetch(req.MaxRows), nil
}

// endOperation cancels an operation, and forgets it when forget is set. Ending what is gone is a success.
func (s *Server) endOperation(h bearer.Holder, req *operationReq, forget bool) (*statusResp, error) {
	op := s.operation(h, req.Operation.ID)
	switch {
	case op == nil:
	case forget:
		s.drop(op)
	default:
		op.cancel(errCanceled)
	}
	return &statusResp{}, nil
}

func (op *operation) status() operationStatusResp {
	select {
	case <-op.done:
	default:
		return operationStatusResp{State: stateRunning, HasResultSet: true}
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	if op.err == nil {
		return operationStatusResp{State: stateFinished, HasResultSet: true, NumModifiedRows: op.modified}
	}
	state, sqlState, text := failure(op.err)
	return operationStatusResp{State: state, SQLState: sqlState, ErrorMessage: text, DisplayMessage: text}
}

// failure words a failed statement as Databricks does: the name of the error class, a sentence, the SQLSTATE.
func failure(err error) (state int32, sqlState, text string) {
	switch {
	case errors.Is(err, errKilled):
		return stateError, "57014", "[QUERY_EXECUTION_KILLED] " + errKilled.Error()
	case errors.Is(err, errTimeout):
		return stateTimedOut, "57KD0", errTimeout.Error()
	case errors.Is(err, errCanceled), errors.Is(err, context.Canceled):
		return stateCanceled, "57014", errCanceled.Error()
	}
	failed, ok := errors.AsType[*engine.Error](err)
	if !ok {
		return stateError, "XX000", "[INTERNAL_ERROR] the sandbox failed: " + err.Error()
	}
	object := "`" + strings.ReplaceAll(failed.Object, ".", "`.`") + "`"
	class := ""
	switch failed.Kind {
	case engine.NotAllowed:
		sqlState, class = "42501", "[INSUFFICIENT_PERMISSIONS] Insufficient privileges: user does not have the permission on table "+object
	case engine.TableAbsent:
		sqlState, class = "42P01", "[TABLE_OR_VIEW_NOT_FOUND] The table, view or function "+object+" cannot be found"
		if failed.Object == "" {
			class = "[TABLE_OR_VIEW_NOT_FOUND] " + failed.Message
		}
	case engine.SchemaAbsent:
		sqlState, class = "42704", "[SCHEMA_NOT_FOUND] The schema "+object+" cannot be found"
	case engine.Exists:
		sqlState, class = "42P07", "[TABLE_OR_VIEW_ALREADY_EXISTS] Cannot create table or view "+object+" because it already exists"
		if !strings.Contains(failed.Object, ".") {
			sqlState, class = "42P06", "[SCHEMA_ALREADY_EXISTS] Cannot create schema "+object+" because it already exists"
		}
	case engine.NoColumn:
		sqlState, class = "42703", "[UNRESOLVED_COLUMN] "+failed.Message
	case engine.Syntax:
		sqlState, class = "42601", "[PARSE_SYNTAX_ERROR] "+failed.Message
	case engine.Canceled:
		return stateCanceled, "57014", errCanceled.Error()
	default:
		sqlState, class = "22000", "[EXECUTION_FAILED] "+failed.Message
	}
	return stateError, sqlState, class + ". SQLSTATE: " + sqlState
}

// arguments reads typed parameters, which travel as text.
func arguments(params []parameter) ([]any, error) {
	args := make([]any, len(params))
	for i, p := range params {
		v, err := argument(p)
		if err != nil {
			return nil, fmt.Errorf("[INVALID_PARAMETER] parameter %d is no %s", i+1, p.Type)
		}
		args[i] = v
		if p.Name != "" {
			args[i] = sql.Named(p.Name, v)
		}
	}
	return args, nil
}

func argument(p parameter) (any, error) {
	if p.Value == nil {
		return nil, nil
	}
	text := p.Value.String
	switch kind, _, _ := strings.Cut(strings.ToUpper(p.Type), "("); kind {
	case "VOID":
		return nil, nil
	case "TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT":
		return strconv.ParseInt(text, 10, 64)
	case "FLOAT", "DOUBLE":
		return strconv.ParseFloat(text, 64)
	case "BOOLEAN":
		return strconv.ParseBool(text)
	case "DATE":
		return time.Parse(time.DateOnly, text)
	case "TIMESTAMP":
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
			if at, err := time.Parse(layout, text); err == nil {
				return at.UTC(), nil
			}
		}
		return nil, errors.New("no time")
	case "DECIMAL":
		if f, err := strconv.ParseFloat(text, 64); err != nil || math.IsInf(f, 0) {
			return nil, errors.New("no decimal")
		}
	}
	return text, nil // DuckDB casts the text of a decimal, exactly
}
