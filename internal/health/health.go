// Package health answers whether this server lives and is ready (cube-rest-api.md §14, design.md §5).
//
// Live means that the process answers; no database and no warehouse decides that. Ready means that it can do its own
// work: the store answers, and every data source that was declared required. Nobody's personal credential is ever
// used for it. The short answers are Cube's; the verbose one, on the admin listener, names every check and source.
package health

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// Check is one condition of being ready.
type Check struct {
	Name string
	// Run returns nil when the condition holds. Its error is shown on the admin listener only.
	Run func(ctx context.Context) error
	// Advisory conditions are told to operators and do not decide: the server does its work without them.
	Advisory bool
}

// Source is the last known state of one data source.
type Source struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`          // "up", "down", "unverified" or "unknown"
	Since     time.Time `json:"since,omitzero"` // when it was found in that first
	CheckedAt time.Time `json:"checked_at,omitzero"`
	LatencyMS int64     `json:"latency_ms,omitzero"`
	Detail    string    `json:"detail,omitempty"`
	Required  bool      `json:"required"`
}

// Config is what a Handler needs. Nothing is required.
type Config struct {
	Checks  []Check
	Sources func() []Source
	Now     func() time.Time // default: time.Now
}

// Handler answers the probes. An evaluation is shared by everybody who asks within a second.
type Handler struct {
	cfg Config

	mu   sync.Mutex
	last report
	at   time.Time
}

// report is the answer in full.
type report struct {
	Health  string   `json:"health"` // "HEALTH" or "DOWN", as Cube says it
	Checks  []state  `json:"checks"`
	Sources []Source `json:"data_sources"`
}

// state is the outcome of one Check.
type state struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// timeout bounds one evaluation, and keep is how long it is believed.
const (
	timeout = 5 * time.Second
	keep    = time.Second
)

// New returns a Handler over cfg.
func New(cfg Config) *Handler {
	if cfg.Sources == nil {
		cfg.Sources = func() []Source { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Handler{cfg: cfg}
}

// Mount adds the public probes to mux.
func (h *Handler) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]string{"health": "HEALTH"})
	})
	ready := func(w http.ResponseWriter, r *http.Request) {
		rep := h.evaluate(r.Context())
		write(w, rep.status(), map[string]string{"health": rep.Health})
	}
	mux.HandleFunc("GET /readyz", ready)
	mux.HandleFunc("GET /ready", ready) // an old name of Cube's
}

// MountAdmin adds the probes that tell everything, which is for operators only.
func (h *Handler) MountAdmin(mux *http.ServeMux) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]string{"health": "HEALTH"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		rep := h.evaluate(r.Context())
		if !r.URL.Query().Has("verbose") {
			write(w, rep.status(), map[string]string{"health": rep.Health})
			return
		}
		write(w, rep.status(), rep)
	})
}

// evaluate runs the checks, or returns what they said less than a second ago. Whoever asks meanwhile waits for the
// same evaluation, which outlives the one who began it.
func (h *Handler) evaluate(ctx context.Context) report {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.cfg.Now(); !h.at.IsZero() && now.Sub(h.at) < keep && !now.Before(h.at) {
		return h.last
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	rep := report{Health: "HEALTH", Checks: make([]state, len(h.cfg.Checks)), Sources: h.cfg.Sources()}
	if rep.Sources == nil {
		rep.Sources = []Source{}
	}
	var all sync.WaitGroup
	for i, c := range h.cfg.Checks {
		all.Go(func() {
			rep.Checks[i] = state{Name: c.Name, OK: true}
			if err := c.Run(ctx); err != nil {
				rep.Checks[i] = state{Name: c.Name, Detail: err.Error()}
			}
		})
	}
	all.Wait()
	for i, c := range rep.Checks {
		if !c.OK && !h.cfg.Checks[i].Advisory {
			rep.Health = "DOWN"
		}
	}
	for _, s := range rep.Sources {
		if s.Required && s.State != "up" {
			rep.Health = "DOWN"
		}
	}
	h.last, h.at = rep, h.cfg.Now()
	return rep
}

func (r report) status() int {
	if r.Health != "HEALTH" {
		return http.StatusInternalServerError
	}
	return http.StatusOK
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
