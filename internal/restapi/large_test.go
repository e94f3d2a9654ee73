package restapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/resultcache"
	"github.com/behalf-project/behalf/orchestrator"
)

// A result whose encoded form is kept, one whose form is too large for that, and one that is not cached at all are
// answered with the same bytes in each format.
func TestWhatIsNotKeptIsEncodedAsItIsWritten(t *testing.T) {
	const rows = 5000
	for _, format := range []string{"default", "compact", "columnar"} {
		var want string
		for i, tt := range []struct {
			name     string
			maxEntry int64
			cached   bool
			whole    bool
		}{
			{"the form is kept", 16 << 20, true, true},
			{"the rows are cached and the form is not", 512 << 10, true, false},
			{"nothing is cached", 1 << 10, false, false},
		} {
			front, o := ledgerFront(t, rows, orchestrator.Config{
				Now:   func() time.Time { return now },
				Cache: resultcache.New(resultcache.Config{MaxEntryBytes: tt.maxEntry}),
			})
			for range 2 {
				w := httptest.NewRecorder()
				front.ServeHTTP(w, ledgerLoad("", rows, format, "stale-if-slow"))
				body := strings.Replace(w.Body.String(), `"cached":true`, `"cached":false`, 1)
				if i == 0 {
					want = body
				}
				if w.Code != http.StatusOK || body != want || len(body) < rows*50 {
					t.Errorf("%s, %s: %d with %d bytes, want the same %d", format, tt.name, w.Code, len(body), len(want))
				}
				if length := w.Header().Get("Content-Length"); (length == strconv.Itoa(w.Body.Len())) != tt.whole || length == "" == tt.whole {
					t.Errorf("%s, %s: Content-Length is %q of %d bytes", format, tt.name, length, w.Body.Len())
				}
			}
			if s := o.Stats().Cache; s.Held != 0 || (s.Entries == 1) != tt.cached {
				t.Errorf("%s, %s: %+v, want nothing held", format, tt.name, s)
			}
		}
	}
}

// The formats of one result are made of the same rows: the warehouse is asked once.
func TestAllFormatsComeFromOneResult(t *testing.T) {
	front, o := ledgerFront(t, 100, orchestrator.Config{})
	for _, format := range []string{"default", "compact", "columnar", "compact"} {
		w := httptest.NewRecorder()
		front.ServeHTTP(w, ledgerLoad("", 100, format, "stale-if-slow"))
		if want := `"cached":` + strconv.FormatBool(format != "default"); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: want %s in %.300s", format, want, w.Body)
		}
	}
	if s := o.Stats().Cache; s.Entries != 1 {
		t.Errorf("%d results are cached, want one", s.Entries)
	}
}

// leaving is a client that takes one piece of its answer.
type leaving struct{ drain }

func (l *leaving) Write(p []byte) (int, error) {
	if l.bytes > 0 {
		return 0, errors.New("the client left")
	}
	return l.drain.Write(p)
}

// Half an answer must not look like a whole one, and what was held for it is given back.
func TestAnAnswerThatCannotBeWrittenIsCut(t *testing.T) {
	for name, maxEntry := range map[string]int64{"kept": 16 << 20, "not kept": 1 << 10} {
		front, o := ledgerFront(t, 5000, orchestrator.Config{Cache: resultcache.New(resultcache.Config{MaxEntryBytes: maxEntry})})
		func() {
			defer func() {
				if cause, ok := recover().(error); !ok || !errors.Is(cause, http.ErrAbortHandler) {
					t.Errorf("%s: the handler ended with %v, want the connection cut", name, cause)
				}
			}()
			front.ServeHTTP(&leaving{drain{header: http.Header{}}}, ledgerLoad("", 5000, "default", "no-cache"))
		}()
		if held := o.Stats().Cache.Held; held != 0 {
			t.Errorf("%s: %d bytes are still held", name, held)
		}
	}
}

func TestTheLimitOfRowsIsThatOfTheConfiguration(t *testing.T) {
	front, _ := ledgerFront(t, 60_000, orchestrator.Config{})
	w := httptest.NewRecorder()
	front.ServeHTTP(w, ledgerLoad("", 60_000, "compact", "no-cache"))
	if w.Code != http.StatusOK {
		t.Errorf("60,000 rows below a max_limit of a million: %d %.200s", w.Code, w.Body)
	}
}
