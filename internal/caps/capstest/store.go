package capstest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/caps"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/notify"
)

// Opened is a store, and where it tells its news.
type Opened struct {
	Store caps.Store
	News  *notify.Bus
}

// TestStore checks the promises of caps.Store. open returns an empty store that lives until the test ends.
func TestStore(t *testing.T, open func(*testing.T) Opened) {
	const long = time.Hour
	exchange := func(t *testing.T, o Opened, offer caps.Offer) caps.Answer {
		t.Helper()
		if offer.Lease == 0 {
			offer.Lease = long
		}
		a, err := o.Store.Exchange(t.Context(), offer)
		if err != nil {
			t.Fatalf("Exchange = %v, want no error", err)
		}
		return a
	}
	comes := func(t *testing.T, o Opened, replicas ...string) {
		t.Helper()
		for _, sharing := range []bool{false, true} {
			for _, r := range replicas {
				exchange(t, o, caps.Offer{Replica: r, Sharing: sharing, All: sharing})
			}
		}
	}
	offers := func(t *testing.T, o Opened, replica string, demands ...caps.Demand) caps.Answer {
		t.Helper()
		return exchange(t, o, caps.Offer{Replica: replica, Sharing: true, Demands: demands})
	}
	has := func(t *testing.T, a caps.Answer, name string, held, fair int, owes int) {
		t.Helper()
		at := slices.IndexFunc(a.Shares, func(s caps.Share) bool { return s.Name == name })
		if at >= 0 {
			a.Shares[at].Waited = false
		}
		if want := (caps.Share{Name: name, Held: held, Fair: fair, Owes: owes}); at < 0 || a.Shares[at] != want {
			t.Errorf("it was told %+v, want %+v", a, want)
		}
	}
	hears := func(o Opened) func() []string {
		var mu sync.Mutex
		var told []string
		o.News.Subscribe(func(n notify.News) {
			mu.Lock()
			defer mu.Unlock()
			if n.Topic == notify.SharesMoved {
				told = append(told, n.Replica)
			}
		})
		return func() []string {
			mu.Lock()
			defer mu.Unlock()
			all := told
			told = nil
			slices.Sort(all)
			return slices.Compact(all)
		}
	}

	t.Run("who is alone has all, whatever it says", func(t *testing.T) {
		o := open(t)
		for _, offer := range []caps.Offer{{Replica: "a"}, {Replica: "a", Sharing: true, All: true, Demands: []caps.Demand{demand("x", 2, 1, 2)}}, {Replica: "a", Sharing: true}} {
			if a := exchange(t, o, offer); !a.Alone || a.Anew || a.Replicas != 1 || len(a.Shares) != 0 {
				t.Errorf("Exchange = %+v, want that it is alone", a)
			}
		}
	})
	t.Run("nobody is given anything while one may have all", func(t *testing.T) {
		o := open(t)
		exchange(t, o, caps.Offer{Replica: "a"})
		told := hears(o)
		if a := exchange(t, o, caps.Offer{Replica: "b"}); a.Alone || a.Replicas != 2 {
			t.Errorf("Exchange = %+v, want two", a)
		}
		if got := told(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%v are told that somebody came, want a", got)
		}
		want := caps.Demand{Name: "x", Cap: 2, Wants: 2}
		a := exchange(t, o, caps.Offer{Replica: "b", Sharing: true, All: true, Demands: []caps.Demand{want}})
		has(t, a, "x", 0, 0, 0)
		if !a.Frozen {
			t.Errorf("Exchange = %+v, want that another has all", a)
		}
		told()
		if a := exchange(t, o, caps.Offer{Replica: "a"}); a.Alone {
			t.Errorf("Exchange = %+v, want two", a)
		}
		has(t, offers(t, o, "b"), "x", 0, 0, 0)
		has(t, exchange(t, o, caps.Offer{Replica: "b", Sharing: true, All: true, Demands: []caps.Demand{demand("x", 2, 1, 2)}}), "x", 1, 0, 1)
		exchange(t, o, caps.Offer{Replica: "b", Sharing: true, All: true, Demands: []caps.Demand{want}})
		told()
		exchange(t, o, caps.Offer{Replica: "a", Sharing: true, All: true, Demands: []caps.Demand{demand("x", 2, 1, 1)}})
		if got := told(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%v are told that all share, want b", got)
		}
		a = offers(t, o, "b")
		has(t, a, "x", 1, 1, 0)
		if a.Frozen {
			t.Errorf("Exchange = %+v, want that nobody has all", a)
		}
	})
	t.Run("who was not known must say all", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		if a := offers(t, o, "c", demand("x", 2, 0, 1)); !a.Anew || len(a.Shares) != 0 {
			t.Errorf("Exchange = %+v, want to be asked for all", a)
		}
		has(t, offers(t, o, "a", demand("y", 2, 0, 1)), "y", 2, 2, 0)
		has(t, exchange(t, o, caps.Offer{Replica: "c", Sharing: true, All: true, Demands: []caps.Demand{demand("x", 2, 0, 1)}}), "x", 2, 2, 0)
	})
	t.Run("the first has the whole cap, and gives back what another waits for", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		told := hears(o)
		has(t, offers(t, o, "a", demand("x", 4, 0, 1)), "x", 4, 4, 0)
		if got := told(); len(got) != 0 {
			t.Errorf("%v are told, want nobody", got)
		}
		has(t, offers(t, o, "b", demand("x", 4, 0, 3)), "x", 0, 3, 0)
		if got := told(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%v are told, want who holds it", got)
		}
		has(t, offers(t, o, "a"), "x", 4, 1, 3)
		told()
		has(t, offers(t, o, "a", demand("x", 4, 2, 2)), "x", 2, 2, 0)
		if got := told(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%v are told, want who waits", got)
		}
		has(t, offers(t, o, "b"), "x", 2, 2, 0)
	})
	t.Run("no more is owed than is waited for", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b", "c")
		has(t, offers(t, o, "a", demand("x", 9, 0, 1)), "x", 9, 9, 0)
		offers(t, o, "b", demand("x", 9, 0, 1))
		has(t, offers(t, o, "a"), "x", 9, 5, 1)
		offers(t, o, "c", demand("x", 9, 0, 2))
		has(t, offers(t, o, "a"), "x", 9, 3, 3)
	})
	t.Run("what is given back altogether is another's", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		offers(t, o, "a", demand("x", 1, 0, 1))
		offers(t, o, "b", demand("x", 1, 0, 1))
		told := hears(o)
		offers(t, o, "a", demand("x", 1, 0, 0))
		if got := told(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%v are told, want who waits", got)
		}
		has(t, offers(t, o, "b"), "x", 1, 1, 0)
	})
	t.Run("a cap of one goes to and fro", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		has(t, offers(t, o, "a", demand("x", 1, 0, 1)), "x", 1, 1, 0)
		offers(t, o, "b", demand("x", 1, 0, 1))
		holder, other := "a", "b"
		for range 4 {
			time.Sleep(2 * time.Millisecond) // turns are told apart by milliseconds
			has(t, offers(t, o, holder), "x", 1, 0, 1)
			has(t, offers(t, o, holder, demand("x", 1, 0, 1)), "x", 0, 0, 0)
			has(t, offers(t, o, other), "x", 1, 1, 0)
			offers(t, o, holder)
			holder, other = other, holder
		}
	})
	t.Run("who begins to wait is heard of by all who hold some", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b", "c")
		offers(t, o, "a", demand("x", 2, 1, 1))
		offers(t, o, "b", demand("x", 2, 1, 1))
		told := hears(o)
		d := demand("x", 2, 1, 2)
		d.New = true
		if a := offers(t, o, "b", d); len(a.Shares) != 1 || a.Shares[0].Waited {
			t.Errorf("Exchange = %+v, want that nobody else waits", a)
		}
		if got := told(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%v are told, want who holds some", got)
		}
		if a := offers(t, o, "a"); len(a.Shares) != 1 || !a.Shares[0].Waited {
			t.Errorf("Exchange = %+v, want that somebody waits", a)
		}
		if got := told(); len(got) != 0 {
			t.Errorf("%v are told, want nobody", got)
		}
	})
	t.Run("who comes with what runs has had a turn", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		offers(t, o, "b", demand("x", 1, 0, 1))
		offers(t, o, "b", demand("x", 1, 0, 1))
		time.Sleep(2 * time.Millisecond)
		exchange(t, o, caps.Offer{Replica: "a", Sharing: true, All: true, Demands: []caps.Demand{demand("x", 1, 1, 2)}})
		offers(t, o, "a", demand("x", 1, 0, 2))
		has(t, offers(t, o, "b"), "x", 1, 1, 0)
	})
	t.Run("the smallest cap is in force", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		has(t, offers(t, o, "a", demand("x", 2, 0, 2)), "x", 2, 2, 0)
		has(t, offers(t, o, "b", demand("x", 8, 0, 8)), "x", 0, 1, 0)
		offers(t, o, "a", demand("x", 2, 1, 2))
		has(t, offers(t, o, "b"), "x", 1, 1, 0)
	})
	t.Run("what runs is held although it is too much", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		offers(t, o, "a", demand("x", 2, 2, 2))
		told := hears(o)
		has(t, exchange(t, o, caps.Offer{Replica: "b", Sharing: true, All: true, Demands: []caps.Demand{demand("x", 2, 2, 2)}}), "x", 2, 0, 2)
		if got := told(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%v are told that it is too much, want the other", got)
		}
		has(t, offers(t, o, "a"), "x", 2, 0, 2)
		has(t, offers(t, o, "a", demand("x", 2, 1, 2)), "x", 1, 0, 1)
		has(t, offers(t, o, "b", demand("x", 2, 1, 2)), "x", 1, 1, 0)
	})
	t.Run("the shares of a dead replica come back, and it has none when it wakes", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b", "c")
		exchange(t, o, caps.Offer{Replica: "a", Sharing: true, Lease: time.Millisecond, Demands: []caps.Demand{demand("x", 2, 0, 2)}})
		told := hears(o)
		time.Sleep(5 * time.Millisecond)
		has(t, offers(t, o, "b", demand("x", 2, 0, 2)), "x", 2, 2, 0)
		if got := told(); !slices.Equal(got, []string{"c"}) {
			t.Errorf("%v are told that one died, want the other", got)
		}
		if a := offers(t, o, "a"); !a.Anew || a.Replicas != 3 {
			t.Errorf("Exchange of who had died = %+v, want to be asked for all", a)
		}
	})
	t.Run("who is left behind is alone", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		offers(t, o, "a", demand("x", 2, 0, 2))
		told := hears(o)
		for range 2 {
			if err := o.Store.Leave(t.Context(), "b"); err != nil {
				t.Fatalf("Leave = %v, want no error", err)
			}
		}
		if got := told(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%v are told that one left, want the other", got)
		}
		if a := offers(t, o, "a"); !a.Alone || len(a.Shares) != 0 {
			t.Errorf("Exchange = %+v, want that it is alone", a)
		}
		exchange(t, o, caps.Offer{Replica: "b"})
		if a := offers(t, o, "a"); !a.Anew {
			t.Errorf("Exchange = %+v, want that nothing is kept of who was alone", a)
		}
	})
	t.Run("many caps at once", func(t *testing.T) {
		o := open(t)
		comes(t, o, "a", "b")
		var demands []caps.Demand
		for i := range 1200 {
			demands = append(demands, demand("cap"+string(rune('A'+i)), 2, 0, 1))
		}
		a := exchange(t, o, caps.Offer{Replica: "a", Sharing: true, All: true, Demands: demands})
		if len(a.Shares) != len(demands) {
			t.Fatalf("%d shares, want %d", len(a.Shares), len(demands))
		}
		if a := offers(t, o, "a"); len(a.Shares) != 0 {
			t.Errorf("%d shares that nobody else wants, want them left out", len(a.Shares))
		}
		exchange(t, o, caps.Offer{Replica: "a", Sharing: true, All: true, Demands: demands[:1]})
		has(t, offers(t, o, "b", demands[1]), demands[1].Name, 2, 2, 0)
	})
	t.Run("who asks at once is never given more than there is", func(t *testing.T) {
		o := open(t)
		replicas := []string{"a", "b", "c", "d", "e"}
		comes(t, o, replicas...)
		var all sync.WaitGroup
		held := make([]int, len(replicas))
		for i, r := range replicas {
			all.Go(func() {
				a, err := o.Store.Exchange(t.Context(), caps.Offer{Replica: r, Lease: long, Sharing: true, Demands: []caps.Demand{demand("x", 3, 0, 2)}})
				if err != nil || len(a.Shares) != 1 {
					t.Errorf("Exchange = %+v, %v", a, err)
					return
				}
				held[i] = a.Shares[0].Held
			})
		}
		all.Wait()
		sum := 0
		for _, n := range held {
			sum += n
		}
		if sum != 3 {
			t.Errorf("%v were given, want 3 together", held)
		}
	})
	t.Run("what names nobody is refused", func(t *testing.T) {
		o := open(t)
		for _, offer := range []caps.Offer{{Lease: long}, {Replica: "a"}} {
			if _, err := o.Store.Exchange(t.Context(), offer); !errors.Is(err, fault.Invalid) {
				t.Errorf("Exchange = %v, want invalid", err)
			}
		}
	})
}

func demand(name string, of, keep, wants int) caps.Demand {
	return caps.Demand{Name: name, Cap: of, Keep: keep, Wants: wants}
}
