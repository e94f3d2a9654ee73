package adminapi

import (
	"context"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/keys"
)

// Keys tells how the data keys are, and replaces them. sqlstore.Keys is one.
type Keys interface {
	// Status reads the beginning of every sealed value.
	Status(ctx context.Context) (keys.Status, error)

	// Rotate begins a rotation, which goes on by itself. It is fault.Conflict while one runs.
	Rotate(ctx context.Context, e audit.Entry) (keys.Rotation, error)
}

// DataKeys is how the data keys are. No key is part of it.
type DataKeys struct {
	Master     string       `json:"master" doc:"Which master key wraps the data keys: the id of the key in a file, or the URI of a key in a KMS."`
	Keys       []DataKey    `json:"keys" nullable:"false" doc:"The one that seals first."`
	Rotation   *KeyRotation `json:"rotation,omitempty" doc:"The last one, running or done; absent when there was none."`
	WaitingFor []string     `json:"waiting_for" nullable:"false" doc:"Replicas that the rotation waits for."`
}

// DataKey is one data key.
type DataKey struct {
	ID        int64      `json:"id"`
	Use       string     `json:"use" enum:"seals,next,opens,missing" doc:"next will seal when every replica has it; missing has sealed values and is not there."`
	Values    int64      `json:"values" doc:"Sealed values of it."`
	CreatedAt *time.Time `json:"created_at,omitempty"`
}

// KeyRotation is one replacement of the data keys.
type KeyRotation struct {
	ID        string     `json:"id"`
	NewKey    int64      `json:"new_key"`
	State     string     `json:"state" enum:"announced,resealing,settling,done"`
	Resealed  int64      `json:"resealed" doc:"Values sealed again so far."`
	Total     int64      `json:"total" doc:"Values that other keys had sealed."`
	Failure   string     `json:"failure,omitempty" doc:"Why it does not go on."`
	StartedBy string     `json:"started_by"`
	StartedAt time.Time  `json:"started_at"`
	DoneAt    *time.Time `json:"done_at,omitempty"`
}

type (
	keysOutput     struct{ Body DataKeys }
	rotationOutput struct{ Body KeyRotation }
)

// dataKeys answers how the data keys are.
func (h *Handler) dataKeys(ctx context.Context, _ *struct{}) (*keysOutput, error) {
	st, err := h.cfg.Keys.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := DataKeys{Master: st.Master, Keys: make([]DataKey, 0, len(st.Keys)), WaitingFor: list(st.Waiting)}
	for _, k := range st.Keys {
		out.Keys = append(out.Keys, DataKey{ID: int64(k.ID), Use: string(k.Use), Values: k.Values, CreatedAt: optional(k.CreatedAt)})
	}
	if st.Rotation != nil {
		r := rotation(*st.Rotation)
		out.Rotation = &r
	}
	return &keysOutput{out}, nil
}

// rotateKeys begins to replace the data keys.
func (h *Handler) rotateKeys(ctx context.Context, _ *struct{}) (*rotationOutput, error) {
	r, err := h.cfg.Keys.Rotate(ctx, audit.Entry{Actor: from(ctx).user.ID, Request: audit.RequestID(ctx)})
	if err != nil {
		return nil, err
	}
	return &rotationOutput{rotation(r)}, nil
}

func rotation(r keys.Rotation) KeyRotation {
	return KeyRotation{
		ID: r.ID, NewKey: int64(r.NewKey), State: string(r.State), Resealed: r.Resealed, Total: r.Total, Failure: r.Failure,
		StartedBy: r.StartedBy, StartedAt: r.StartedAt, DoneAt: optional(r.DoneAt),
	}
}

// optional returns nil for no time.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
