package caps

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/securitycontext"
)

// Kind is what a cap is a cap of.
type Kind string

// The kinds.
const (
	Statements Kind = "statements" // that run at once
	Sessions   Kind = "sessions"   // that are open
)

// Key names a cap: that of a source, or, with a Principal, that of one person there.
type Key struct {
	Kind           Kind
	Domain, Source string
	Principal      securitycontext.Principal
}

// name stands for k in the store: a digest, so that nobody's name is there, and none is too long or strange for a column.
func (k Key) name() string {
	h := sha256.New()
	for _, part := range []string{string(k.Kind), k.Domain, k.Source, k.Principal.Realm, k.Principal.Subject} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part)) // which no other parts give
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Store keeps who holds how much of which cap. capstest.TestStore says what each method must do.
type Store interface {
	// Exchange renews the lease of a replica, stores what it keeps and wants of caps, and gives it what it may have: in one
	// transaction, and one replica at a time. Replicas whose lease has ended are forgotten, with all that they held. Time is the
	// store's. Whom it concerns, another replica that may take or is to give back, is told by news of the topic
	// notify.SharesMoved.
	Exchange(ctx context.Context, o Offer) (Answer, error)

	// Leave gives back all that a replica held, and forgets it. One that is not known is left already.
	Leave(ctx context.Context, replica string) error
}

// Offer is what a replica says of itself.
type Offer struct {
	Replica string
	Lease   time.Duration // from the store's now on
	Sharing bool          // it holds what is stored, and not all of every cap
	All     bool          // Demands are of all caps that it has something of: what else is stored of it is given back
	Demands []Demand
}

// Demand is what a replica keeps and wants of a cap.
type Demand struct {
	Name  string // of the cap
	Cap   int    // as this replica has it; the smallest that any has is in force
	Keep  int    // what runs, and what may begin before the answer
	Wants int    // what runs and what waits
	New   bool   // it did not say before that it wants more than it keeps
}

// Answer is what a replica is told.
type Answer struct {
	Alone    bool // there is no other: all of every cap is its, and nothing is stored
	Anew     bool // it was not known, and nothing was stored of its Demands, which were not all: send them all
	Frozen   bool // another one has all of every cap: nothing may begin here, and nothing of it needs to end for anybody
	Replicas int  // that live, this one too

	// Shares are of the caps in the offer, and of those of this replica of which another has or wants some.
	Shares []Share
}

// Share is what a replica has of a cap.
type Share struct {
	Name   string
	Held   int
	Fair   int  // what it is to have
	Owes   int  // so much of what it holds above Fair is waited for elsewhere
	Waited bool // another wants more than it holds
}

// Claim is what a replica has and wants of a cap, as it is stored.
type Claim struct {
	Replica string
	Cap     int
	Held    int
	Wants   int
	TurnAt  int64 // when it last got something and had nothing, in the store's time; 0 for never
}

// Divide returns how much of a cap each of its claims is to have. Together that is the whole cap, the smallest that any names.
// Nobody is to have less than they want while another has more than they, and what nobody wants is for all alike. Of what cannot
// be divided, who has more now keeps more; but where there is less than one for each who wants, the turn is of those who had
// theirs the longest ago.
func Divide(claims []Claim) []int {
	fair, left := make([]int, len(claims)), capOf(claims)
	order := make([]int, len(claims))
	wanting := 0
	for i, c := range claims {
		order[i] = i
		if c.Wants > 0 {
			wanting++
		}
	}
	stable := func(i, j int) int {
		return cmp.Or(cmp.Compare(claims[j].Held, claims[i].Held), cmp.Compare(claims[i].Replica, claims[j].Replica))
	}
	if left < wanting {
		slices.SortFunc(order, func(i, j int) int {
			return cmp.Or(cmp.Compare(claims[i].TurnAt, claims[j].TurnAt), stable(i, j))
		})
		for _, i := range order {
			if left > 0 && claims[i].Wants > 0 {
				fair[i]++
				left--
			}
		}
		return fair
	}
	slices.SortFunc(order, stable)
	// One for each who wants more, again and again. Caps are small.
	for more := true; more && left > 0; {
		more = false
		each := max(left/max(wanting, 1), 1)
		for _, i := range order {
			if n := min(each, claims[i].Wants-fair[i], left); n > 0 {
				fair[i] += n
				left -= n
				more = true
			}
		}
		wanting = 0
		for i, c := range claims {
			if c.Wants > fair[i] {
				wanting++
			}
		}
	}
	for n, i := range order {
		spare := left / (len(order) - n)
		if left%(len(order)-n) > 0 {
			spare++
		}
		fair[i] += spare
		left -= spare
	}
	return fair
}

func capOf(claims []Claim) int {
	if len(claims) == 0 {
		return 0
	}
	return slices.MinFunc(claims, func(a, b Claim) int { return cmp.Compare(a.Cap, b.Cap) }).Cap
}

// Settle gives the claim of replica, if there is one, what it may have: of what nobody holds, up to its fair part. It changes that
// claim, and returns the replica's share, and the others whom it concerns: those who hold what it waits for, those who wait
// for what is free now, and, if it is new that it waits, all who hold some, because what they want may be long ago. Where frozen,
// somebody holds all of every cap, and nobody else is to have anything. A Store's Exchange calls it for each cap.
func Settle(claims []Claim, replica string, now int64, isNew, frozen bool) (own Share, concerned []string) {
	fair, free := Divide(claims), capOf(claims)
	for _, c := range claims {
		free -= c.Held
	}
	waits := func(i int) bool { return claims[i].Held < min(claims[i].Wants, fair[i]) }
	at := slices.IndexFunc(claims, func(c Claim) bool { return c.Replica == replica })
	if at >= 0 {
		me := &claims[at]
		if more := min(fair[at]-me.Held, free); more > 0 && !frozen {
			if me.Held == 0 {
				me.TurnAt = now
			}
			me.Held += more
			free -= more
		}
		own = Share{Held: me.Held, Fair: fair[at]}
		switch {
		case frozen: // all that is not that replica's runs under leases that have ended
			own.Fair, own.Owes = 0, me.Held
		case free < 0: // somebody woke with what runs there: everybody gives back what is too much, and only then anybody is given some
			own.Fair = min(own.Fair, max(me.Held+free, 0))
			own.Owes = me.Held - own.Fair
		}
	}
	short := -max(free, 0) // of what others are to have
	for i, c := range claims {
		if i == at {
			continue
		}
		isNew := isNew && at >= 0 && claims[at].Wants > claims[at].Held && c.Held > 0
		if isNew || !frozen && waits(i) && free > 0 || at >= 0 && waits(at) && c.Held > fair[i] {
			concerned = append(concerned, c.Replica)
		}
		own.Waited = own.Waited || c.Wants > c.Held
		if waits(i) {
			short += min(c.Wants, fair[i]) - c.Held
		}
	}
	own.Owes = max(own.Owes, min(short, own.Held-own.Fair))
	return own, concerned
}
