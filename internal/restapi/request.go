package restapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/query"
)

// request is what load, sql and dry-run take, from a GET's parameters or a POST's body.
type request struct {
	Query     json.RawMessage `json:"query"`
	QueryType string          `json:"queryType"`
	Cache     string          `json:"cache"`
	Format    string          `json:"format"`
}

// readRequest decodes r. Unknown fields are Cube's own and pass.
func readRequest(r *http.Request) (request, error) {
	var req request
	if r.Method == http.MethodPost {
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
			return request{}, fault.New(fault.Invalid, "A POST needs a JSON body and the header Content-Type: application/json.")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return request{}, err
		}
		if err := json.Unmarshal(body, &req); err != nil {
			return request{}, malformed(err)
		}
	} else {
		p := r.URL.Query()
		req = request{json.RawMessage(p.Get("query")), p.Get("queryType"), p.Get("cache"), p.Get("format")}
	}
	req.Query = bytes.TrimSpace(req.Query)
	if len(req.Query) == 0 || bytes.Equal(req.Query, []byte("null")) || bytes.Equal(req.Query, []byte("undefined")) || bytes.Equal(req.Query, []byte(`"undefined"`)) {
		return request{}, fault.New(fault.Invalid, "Query param is required")
	}
	return req, nil
}

// malformed says where a body stops being JSON.
func malformed(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fault.Wrap(fault.Invalid, err, "The request body is not JSON: %v, at byte %d.", syntax, syntax.Offset)
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fault.Wrap(fault.Invalid, err, "The request body is wrong at %q: a %s does not belong there.", wrong.Field, wrong.Value)
	}
	return fault.Wrap(fault.Invalid, err, "The request body is not JSON.")
}

var cacheModes = []query.CacheMode{query.StaleIfSlow, query.StaleWhileRevalidate, query.MustRevalidate, query.NoCache}

// batch decodes and normalizes the queries of req.
func (h *Handler) batch(req request, now time.Time) (query.Batch, error) {
	batch, err := query.Decode(req.Query)
	if err != nil {
		return query.Batch{}, err
	}
	if req.Cache != "" {
		if !slices.Contains(cacheModes, query.CacheMode(req.Cache)) {
			return query.Batch{}, fault.New(fault.Invalid, `Invalid query format: "cacheMode" must be one of [stale-if-slow, stale-while-revalidate, must-revalidate, no-cache]`)
		}
		for i := range batch.Queries {
			batch.Queries[i].CacheMode = query.CacheMode(req.Cache)
		}
	}
	return batch.Normalize(h.options(now))
}

// options are how queries are normalized.
func (h *Handler) options(now time.Time) query.Options {
	return query.Options{Now: now, Timezone: h.cfg.DefaultTimezone, DefaultLimit: h.cfg.DefaultLimit, MaxLimit: h.cfg.MaxLimit}
}

// maxWait bounds what a client may ask for with Prefer: wait=55 (RFC 7240 §4.3). Cube's own bound is the same.
const maxWait = 90 * time.Second

// waitTime is how long the request is held before it is told to ask again.
func (h *Handler) waitTime(r *http.Request) time.Duration {
	for p := range strings.SplitSeq(r.Header.Get("Prefer"), ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "wait="); ok {
			if s, err := strconv.Atoi(v); err == nil && s >= 0 {
				return min(time.Duration(s)*time.Second, maxWait)
			}
		}
	}
	return h.cfg.Wait
}
