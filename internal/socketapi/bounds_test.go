package socketapi

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/coder/websocket"
)

// deaf opens a connection of alice that takes nothing after its handshake.
func (b *bench) deaf() *peer {
	b.t.Helper()
	ws, _, err := websocket.Dial(b.t.Context(), "ws://behalf/", &websocket.DialOptions{HTTPClient: b.http})
	if err != nil {
		b.t.Fatal(err)
	}
	p := &peer{b: b, ws: ws}
	p.send(`{"authorization":"alice"}`)
	if _, _, err := ws.Read(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// A subscription that was replaced or ended runs on until it notices, and does not while it waits for a client that takes
// nothing.
func TestSubscriptionsThatWereReplacedCount(t *testing.T) {
	for _, between := range []string{"", `{"unsubscribe":1}`} {
		api := &theAPI{reply: says(strings.Repeat("x", 1<<16))}
		serve(t, api, Config{}, func(b *bench) {
			p := b.deaf()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range 3 * maxFollowed {
					for _, text := range []string{between, fmt.Sprintf(`{"messageId":1,"method":"subscribe","params":{"query":{"limit":%d}}}`, i)} {
						if text != "" && p.ws.Write(b.t.Context(), websocket.MessageText, []byte(text)) != nil {
							return // the server has stopped to read, and cut the connection
						}
					}
				}
			}()
			synctest.Wait()
			// Some have ended before the client was found to take nothing, and made room.
			if got := api.count(); got < maxFollowed/2 || got > 2*maxFollowed {
				t.Errorf("%d subscriptions of %d were asked, want about %d", got, 3*maxFollowed, maxFollowed)
			}
			time.Sleep(stall + time.Second)
			_ = p.ws.CloseNow()
			<-sent
		})
	}
}

func TestAnswersAreWithinTheMemoryOfResults(t *testing.T) {
	cache := resultcache.New(resultcache.Config{MaxHeldBytes: 2 << 20})
	api := &theAPI{reply: func(w http.ResponseWriter, _ *http.Request, n int) {
		size := map[int]int{2: 1 << 20, 3: 900 << 10}[n]
		_, err := io.WriteString(w, strings.Repeat("1", max(size, 1)))
		if err != nil {
			panic(http.ErrAbortHandler) // as the query API does
		}
	}}
	serve(t, api, Config{Memory: memory{cache}}, func(b *bench) {
		p := b.enter("alice")
		p.send(load)
		p.wants(`{"messageId":1,"status":200,"message":1}`, `{"messageProcessedId":1}`)
		p.send(load)
		p.wants(`{"messageId":1,"status":503,"message":{"error":"No memory."}}`, `{"messageProcessedId":1}`)
		synctest.Wait()
		if held := cache.Stats().Held; held != 0 {
			t.Errorf("%d bytes are held of what was refused", held)
		}
		other := b.deaf()
		other.send(load)
		synctest.Wait()
		if held := cache.Stats().Held; held < 900<<10 {
			t.Errorf("%d bytes are held of an answer that is not taken", held)
		}
		p.send(`{"messageId":2,"method":"subscribe","params":{"query":{"segments":["` + strings.Repeat("x", 200<<10) + `"]}}}`)
		p.wants(`{"messageId":2,"status":503,"message":{"error":"No memory."}}`)
		p.send(`{"messageId":2,"method":"load","params":{"query":{"segments":["` + strings.Repeat("x", 200<<10) + `"]}}}`)
		p.wants(`{"messageId":2,"status":503,"message":{"error":"No memory."}}`)
		time.Sleep(stall + time.Second)
		_ = other.ws.CloseNow()
		synctest.Wait()
		if held := cache.Stats().Held; held != 0 {
			t.Errorf("%d bytes are held of a connection that was cut", held)
		}
	})
}

func TestStrangersAreFew(t *testing.T) {
	from := func(r *http.Request) string { return r.Header.Get("X-Test-Address") }
	serve(t, &theAPI{}, Config{Strangers: 3, PerAddress: 2, ClientIP: from}, func(b *bench) {
		at := func(address, refused string) *peer {
			t.Helper()
			p, err := b.try("X-Test-Address", address)
			if refused == "" && err != nil || refused != "" && (err == nil || !strings.Contains(err.Error(), refused)) {
				t.Fatalf("a stranger at %s: %v, want %q", address, err, refused)
			}
			return p
		}
		first := at("one", "")
		at("one", "")
		at("one", "429")
		second := at("two", "")
		at("two", "503")
		first.send(`{"authorization":"alice"}`)
		first.wants(`{"handshake":true}`)
		at("one", "") // its place is free
		_ = second.ws.Close(websocket.StatusNormalClosure, "")
		synctest.Wait()
		at("two", "")
		at("three", "503")
	})
}

// Everybody has a whole /64 of IPv6, and somebody who has no name is known by nothing but the address.
func TestCallersWithoutANameAreCountedByAddress(t *testing.T) {
	from := func(r *http.Request) string { return r.Header.Get("X-Test-Address") }
	serve(t, &theAPI{}, Config{Strangers: 3, PerAddress: 2, PerPrincipal: 1, ClientIP: from}, func(b *bench) {
		enter := func(address, name string) *peer {
			t.Helper()
			p := b.dial("X-Test-Address", address)
			p.send(`{"authorization":"` + name + `"}`)
			p.wants(`{"handshake":true}`)
			return p
		}
		refused := func(address string) {
			t.Helper()
			if _, err := b.try("X-Test-Address", address); err == nil || !strings.Contains(err.Error(), "429") {
				t.Errorf("one more of %s: %v, want 429", address, err)
			}
		}
		first := enter("2001:db8:1:2::1", "nobody")
		enter("2001:db8:1:2:ffff:ffff:ffff:ffff", "nobody")
		refused("2001:db8:1:2:aaaa::7")
		enter("2001:db8:1:3::1", "nobody") // a neighbour
		enter("192.0.2.1", "nobody")
		enter("::ffff:192.0.2.1", "nobody")
		refused("192.0.2.1")
		_ = first.ws.Close(websocket.StatusNormalClosure, "")
		synctest.Wait()
		enter("2001:db8:1:2::9", "alice") // whose place is free, and stays free
		enter("2001:db8:1:2::9", "bob")
		enter("2001:db8:1:2::9", "nobody")
		refused("2001:db8:1:2::9")
		enter("", "nobody")
		p := b.dial("X-Test-Address", "") // where no address is known, they are one caller
		p.send(`{"authorization":"nobody"}`)
		p.wants(`{"status":429,"message":{"error":"You have as many WebSockets as one caller may have. Close one, or send the query over HTTP."}}`)
	})
}

// What changes with every answer does not count, wherever the answer is cut into pieces, and all else does.
func TestTheEssenceOfAnAnswer(t *testing.T) {
	of := func(text string, piece int) any {
		a := &answer{code: http.StatusOK}
		for ; len(text) > piece; text = text[piece:] {
			a.body = append(a.body, []byte(text[:piece]))
		}
		a.body = append(a.body, []byte(text))
		return a.essence()
	}
	const one = `{"data":[{"a.b":"x\\\",\"cached\":1","a.c":2}],"cached":true,"query":{"cached":[1]},"requestId":"r, \"}","results":[{"cached":false,"data":[[{"cached":1}]]},{"lastRefreshTime":"t"}],"slowQuery":[{"x":[1,2]}]}`
	for piece := range 40 {
		for _, tt := range []struct {
			from, to string
			same     bool
		}{
			{`"cached":true`, `"cached":false`, true}, {`"r, \"}"`, `"s"`, true}, {`"cached":false`, `"cached":true`, true}, {`"t"`, `{"a":[","]}`, true}, {`[1,2]`, `[]`, true},
			{`"a.c":2`, `"a.c":3`, false}, {`\"cached\":1`, `\"cached\":2`, false}, {`"cached":[1]`, `"cached":[2]`, false}, {`[[{"cached":1}]]`, `[[{"cached":2}]]`, false},
		} {
			other := strings.Replace(one, tt.from, tt.to, 1)
			if other == one {
				t.Fatalf("there is no %s", tt.from)
			}
			if got := of(one, len(one)) == of(other, piece+1); got != tt.same {
				t.Errorf("%s and %s are the same: %v", tt.from, tt.to, got)
			}
		}
	}
}
