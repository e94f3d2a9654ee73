package main

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wire is a TCP proxy on loopback: the network between a server of ours and what it calls, with a lever for what
// networks do.
type wire struct {
	t        *testing.T
	address  string
	upstream string
	running  sync.WaitGroup
	dialled  atomic.Int64 // connections that clients opened
	held     atomic.Int64 // those on which something waits

	mu       sync.Mutex
	listener net.Listener // nil while it is down
	trouble  trouble
	changed  chan struct{} // closed when trouble is replaced
	open     map[net.Conn]bool
}

// trouble is what a wire does to the bytes it carries.
type trouble int

const (
	none           trouble = iota
	requestsHeld           // what clients send waits here; who hangs up takes it back
	answersHeld            // what the server sends waits here
	answersLost            // the connection is reset when the answer comes
	answersHalved          // the connection is closed in the middle of the answer
	answersTrickle         // the answer comes byte by byte, ten in a second
)

// newWire returns a wire to upstream that is up until the test ends.
func newWire(t *testing.T, upstream string) *wire {
	t.Helper()
	w := &wire{t: t, upstream: upstream, changed: make(chan struct{}), open: map[net.Conn]bool{}}
	l, port := quietListener(t)
	w.address = net.JoinHostPort("127.0.0.1", port)
	w.serve(l)
	t.Cleanup(func() {
		w.down()
		w.running.Wait()
	})
	return w
}

// up lets clients connect.
func (w *wire) up() {
	w.t.Helper()
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.serve(l)
}

func (w *wire) serve(l net.Listener) {
	w.mu.Lock()
	w.listener = l
	w.mu.Unlock()
	w.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // it is down
			}
			w.dialled.Add(1)
			w.running.Go(func() { w.carry(client.(*net.TCPConn)) })
		}
	})
}

// down refuses connections and resets those that are open.
func (w *wire) down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		_ = w.listener.Close()
		w.listener = nil
	}
	for c := range w.open {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// set makes or ends trouble, on connections that are open too.
func (w *wire) set(t trouble) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trouble = t
	close(w.changed)
	w.changed = make(chan struct{})
}

// holds waits until something is held, or nothing is.
func (w *wire) holds(something bool) {
	w.t.Helper()
	eventually(w.t, "what is held", func() bool { return (w.held.Load() > 0) == something })
}

func (w *wire) now() (trouble, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trouble, w.changed
}

// carry connects client with the server until one of them hangs up.
func (w *wire) carry(client *net.TCPConn) {
	defer client.Close()
	conn, err := net.Dial("tcp", w.upstream)
	if err != nil {
		_ = client.SetLinger(0)
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	w.mu.Lock()
	if w.listener == nil { // it went down meanwhile
		w.mu.Unlock()
		return
	}
	w.open[client], w.open[server] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, client)
		delete(w.open, server)
	}()
	var both sync.WaitGroup
	both.Go(func() {
		defer server.Close()
		w.pump(server, client, requestsHeld)
	})
	both.Go(func() {
		defer client.Close()
		w.pump(client, server, answersHeld)
	})
	both.Wait()
}

// pump copies from one side to the other, and stops in between while the trouble is held.
func (w *wire) pump(to, from *net.TCPConn, held trouble) {
	arrived := make(chan []byte)
	done := make(chan struct{})
	defer close(done)
	w.running.Go(func() {
		defer close(arrived)
		for buffer := make([]byte, 64<<10); ; {
			n, err := from.Read(buffer)
			if n > 0 {
				select {
				case arrived <- slices.Clone(buffer[:n]):
				case <-done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	var waiting []byte
	counted := int64(0)
	count := func() { // how many of this direction wait, 0 or 1
		now := int64(min(len(waiting), 1))
		w.held.Add(now - counted)
		counted = now
	}
	defer func() { w.held.Add(-counted) }()
	for ended := false; ; {
		t, changed := w.now()
		if t != held {
			if len(waiting) > 0 && w.write(to, waiting, t, held == answersHeld) != nil {
				return
			}
			if waiting = nil; ended {
				return
			}
		} else if ended && held == requestsHeld {
			return // who is gone asks nothing
		}
		count()
		in := arrived
		if ended {
			in = nil
		}
		select {
		case bytes, ok := <-in:
			waiting, ended = append(waiting, bytes...), !ok
		case <-changed:
		}
	}
}

var errTrouble = errors.New("the network broke")

// write passes bytes on as the trouble of answers allows.
func (w *wire) write(to *net.TCPConn, bytes []byte, t trouble, answer bool) error {
	if !answer {
		t = none
	}
	switch t {
	case answersLost:
		_ = to.SetLinger(0)
		return errTrouble
	case answersHalved:
		_, _ = to.Write(bytes[:len(bytes)/2])
		return errTrouble
	case answersTrickle:
		for i := range bytes {
			if _, err := to.Write(bytes[i : i+1]); err != nil {
				return err
			}
			if now, changed := w.now(); now == answersTrickle {
				select {
				case <-changed:
				case <-time.After(100 * time.Millisecond):
				}
			}
		}
		return nil
	}
	_, err := to.Write(bytes)
	return err
}
