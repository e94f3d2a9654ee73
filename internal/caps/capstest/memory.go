// Package capstest says what a caps.Store must do, and has one in memory.
package capstest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
)

// Memory is a caps.Store in memory. It is empty, and safe for concurrent use.
type Memory struct {
	News notify.Bus // of what moved

	mu       sync.Mutex
	replicas map[string]*member
	claims   map[string][]caps.Claim // by the name of the cap
}

type member struct {
	until   time.Time
	sharing bool
}

// Exchange implements caps.Store.
func (m *Memory) Exchange(ctx context.Context, o caps.Offer) (caps.Answer, error) {
	if err := ctx.Err(); err != nil {
		return caps.Answer{}, err
	}
	if o.Replica == "" || o.Lease < time.Millisecond {
		return caps.Answer{}, fault.New(fault.Invalid, "An offer needs a replica and a lease.")
	}
	a, concerned := m.exchange(o)
	m.tell(concerned)
	return a, nil
}

func (m *Memory) exchange(o caps.Offer) (a caps.Answer, concerned map[string]bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.replicas == nil {
		m.replicas, m.claims = map[string]*member{}, map[string][]caps.Claim{}
	}
	now, gone := time.Now(), false
	for id, r := range m.replicas {
		if !now.Before(r.until) {
			m.forget(id)
			gone = true
		}
	}
	me, known := m.replicas[o.Replica]
	if !known {
		me = &member{}
		m.replicas[o.Replica] = me
	}
	before := me.sharing
	a = caps.Answer{Replicas: len(m.replicas), Alone: len(m.replicas) == 1}
	a.Anew = !a.Alone && o.Sharing && !o.All && !before
	me.until, me.sharing = now.Add(o.Lease), !a.Alone && (before || !known || o.All)
	if a.Alone || o.All {
		m.drop(o.Replica)
	}
	concerned = map[string]bool{}
	for id, r := range m.replicas {
		if id != o.Replica {
			a.Frozen = a.Frozen || !r.sharing
			concerned[id] = gone || !known || before != me.sharing || o.All
		}
	}
	if !me.sharing || !o.Sharing || a.Anew {
		return a, concerned
	}
	names := map[string]bool{}
	for _, d := range o.Demands {
		names[d.Name] = d.New
		m.put(o.Replica, d, now.UnixMilli())
	}
	for name, claims := range m.claims {
		at := slices.IndexFunc(claims, func(c caps.Claim) bool { return c.Replica == o.Replica })
		isNew, offered := names[name]
		if !offered && (at < 0 || len(claims) == 1 && claims[at].Wants <= claims[at].Held) {
			continue
		}
		own, others := caps.Settle(claims, o.Replica, now.UnixMilli(), isNew, a.Frozen)
		for _, id := range others {
			concerned[id] = true
		}
		if at >= 0 {
			own.Name = name
			a.Shares = append(a.Shares, own)
		}
	}
	return a, concerned
}

// put stores what a replica keeps and wants of a cap.
func (m *Memory) put(replica string, d caps.Demand, now int64) {
	claims := m.claims[d.Name]
	at := slices.IndexFunc(claims, func(c caps.Claim) bool { return c.Replica == replica })
	switch {
	case d.Keep == 0 && d.Wants == 0:
		if at >= 0 {
			claims = slices.Delete(claims, at, at+1)
		}
	case at >= 0:
		claims[at].Cap, claims[at].Held, claims[at].Wants = d.Cap, d.Keep, d.Wants
	default:
		c := caps.Claim{Replica: replica, Cap: d.Cap, Held: d.Keep, Wants: d.Wants}
		if d.Keep > 0 {
			c.TurnAt = now
		}
		claims = append(claims, c)
	}
	m.claims[d.Name] = claims
}

func (m *Memory) drop(replica string) {
	for name, claims := range m.claims {
		m.claims[name] = slices.DeleteFunc(claims, func(c caps.Claim) bool { return c.Replica == replica })
	}
}

func (m *Memory) forget(replica string) {
	delete(m.replicas, replica)
	m.drop(replica)
}

// Leave implements caps.Store.
func (m *Memory) Leave(_ context.Context, replica string) error {
	m.mu.Lock()
	concerned := map[string]bool{}
	if m.replicas[replica] != nil {
		m.forget(replica)
		for id := range m.replicas {
			concerned[id] = true
		}
	}
	m.mu.Unlock()
	m.tell(concerned)
	return nil
}

func (m *Memory) tell(concerned map[string]bool) {
	for id, is := range concerned {
		if is {
			m.News.Publish(notify.News{Topic: notify.SharesMoved, Replica: id})
		}
	}
}
