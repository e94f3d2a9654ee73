package restapi

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/orchestrator"
	"go.uber.org/zap"
)

// status is the HTTP status of each kind of failure for a Cube client (cube-rest-api.md §17, design.md §5). Cube
// clients read the sentence in "error"; the status mostly tells 4xx from 5xx.
var status = map[fault.Kind]int{
	fault.Invalid:                 http.StatusBadRequest,
	fault.Unauthenticated:         http.StatusForbidden, // Cube answers 403 where others say 401
	fault.Denied:                  http.StatusForbidden,
	fault.NotFound:                http.StatusNotFound,
	fault.Conflict:                http.StatusConflict,
	fault.Gone:                    http.StatusGone,
	fault.TooMany:                 http.StatusTooManyRequests,
	fault.Unavailable:             http.StatusServiceUnavailable,
	fault.Timeout:                 http.StatusBadRequest, // as Cube answers an execution timeout
	fault.Canceled:                http.StatusBadRequest,
	fault.AuthorizationRequired:   http.StatusForbidden,
	fault.ReauthorizationRequired: http.StatusForbidden,
	fault.AppDisabled:             http.StatusForbidden,
	fault.RefreshFailing:          http.StatusServiceUnavailable,
}

// problem is the body of a refusal: Cube's "error", and what our own clients act on.
type problem struct {
	Error  string `json:"error"`
	Detail string `json:"detail,omitempty"` // of what is not implemented: why
	details
}

// details are what programs act on.
type details struct {
	Type         string `json:"type,omitempty"` // "UserError", which old clients look for
	Code         string `json:"code,omitempty"`
	DataSource   string `json:"dataSource,omitempty"`
	OAuthApp     string `json:"oauthApp,omitempty"`
	AuthorizeURL string `json:"authorize_url,omitempty"`
	RequestID    string `json:"requestId,omitempty"`
}

// wait is the body that asks the client to ask again (cube-rest-api.md §6). It is a 200.
type wait struct {
	Error       string `json:"error"`
	Stage       string `json:"stage,omitempty"`
	TimeElapsed int64  `json:"timeElapsed"` // milliseconds
	RequestID   string `json:"requestId,omitempty"`
}

// Refuse answers err: what a person may read of it goes to the client, the rest to the log.
func (h *Handler) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if cw, ok := errors.AsType[*orchestrator.ContinueWait](err); ok {
		writeJSON(w, http.StatusOK, wait{cw.Error(), cw.Stage, cw.Elapsed.Milliseconds(), httpserver.RequestID(r.Context())})
		return
	}
	code, body := h.refusal(w.Header(), r, err)
	writeJSON(w, code, body)
}

// refusal returns the status and the body that answer err, writes the headers that belong to them, and logs what
// somebody must look into.
func (h *Handler) refusal(header http.Header, r *http.Request, err error) (int, problem) {
	code, body := answer(err)
	body.RequestID = httpserver.RequestID(r.Context())
	if _, ok := errors.AsType[challenge](err); ok {
		header.Set("WWW-Authenticate", "Bearer")
		code = http.StatusUnauthorized
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && e.RetryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	if code >= http.StatusInternalServerError && r.Context().Err() == nil {
		h.cfg.Log.Error("request failed", zap.String("request_id", body.RequestID), zap.String("kind", string(fault.KindOf(err))), zap.Error(err))
	}
	return code, body
}

// challenge is a refusal of somebody unknown that is answered 401.
type challenge struct{ error }

func (c challenge) Unwrap() error { return c.error }

// answer turns err into a status and a body. What has no kind is internal: its text may hold anything.
func answer(err error) (int, problem) {
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, problem{
			Error:   "The request is larger than " + strconv.FormatInt(big.Limit>>20, 10) + " MiB. Ask for less in one query.",
			details: details{Code: "request_too_large"},
		}
	}
	kind := fault.KindOf(err)
	code, known := status[kind]
	if !known {
		return http.StatusInternalServerError, problem{Error: "Internal Server Error", details: details{Code: "internal"}}
	}
	body := problem{Error: kind.Error(), details: details{Code: kind.Error()}}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		body.Code = e.CodeOrKind()
		if e.Detail != "" {
			body.Error = e.Detail
		}
		body.DataSource, body.OAuthApp = e.Params["data_source"], e.Params["oauth_app"]
		for _, a := range e.Actions {
			if a.Rel == "authorize" {
				body.AuthorizeURL = a.Href
				body.Error += " " + a.Href // clients that show only the sentence show the link too
			}
		}
		if e.Owner == fault.Database || e.Code == "query_timeout" || e.Code == "not_preaggregated" {
			code = http.StatusBadRequest // the database refused or is slow, or is not to be asked: Cube's 400, with the driver's words (design.md §2.18)
			body.Error = "Error: " + body.Error
		}
		if e.Code == hooks.CodeFailed {
			code = http.StatusInternalServerError // as Cube answers (cube-rest-api.md §2.6)
		}
	}
	if kind == fault.Invalid && body.Code == string(fault.Invalid) {
		body.Code, body.Type = "", "UserError"
	}
	return code, body
}

func notFound(r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return fault.New(fault.NotFound, "There is nothing at %s for %s.", r.URL.Path, r.Method)
	}
	return fault.New(fault.NotFound, "Not Found")
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		panic(err) // the types above marshal
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = w.Write(b)
}

// isoMillis is how times of results are written: ISO 8601 in UTC with milliseconds.
const isoMillis = "2006-01-02T15:04:05.000Z"
