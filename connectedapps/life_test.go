package connectedapps_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/connectedapps"
	"github.com/behalf-project/behalf/internal/sandbox/idp"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// lives is a world whose provider has a clock of its own and answers late: what it issues is under way for a while.
type lives struct {
	presetWorld
	off func() time.Duration // how far its clock is ahead of ours

	mu   sync.Mutex
	ends map[string]time.Time // of access tokens, by its clock
}

func newLives(t *testing.T, life, late, off time.Duration) (l *lives, setBack func(time.Duration)) {
	presets := oauthapps.Presets()
	preset := presets[slices.IndexFunc(presets, func(p oauthapps.Preset) bool { return p.Name == "oauth2" })]
	var mu sync.Mutex
	l = &lives{presetWorld: newPresetWorld(t, preset, idp.Quirks{}, []string{"sql", "offline_access"}), ends: map[string]time.Time{}}
	l.off = func() time.Duration { mu.Lock(); defer mu.Unlock(); return off }
	l.idp.SetClock(l.there)
	l.idp.SetAccessTokenLife(life)
	l.idp.Watch(func(kind string, token secret.Text) {
		if kind != "access_token" {
			return
		}
		l.mu.Lock()
		l.ends[token.Reveal()] = l.there().Add(life)
		l.mu.Unlock()
		l.clock.advance(late)
	})
	return l, func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		l.clock.advance(-d)
		off += d
	}
}

// there is what the provider's clock shows.
func (l *lives) there() time.Time { return l.clock.now().Add(l.off()) }

// left is how long tok lives, by the provider's clock.
func (l *lives) left(tok connectedapps.Token) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ends[tok.Value.Reveal()].Sub(l.there())
}

// No token is handed out that lives less than was asked for by the provider's clock, whatever the clocks show and
// however long answers take, and no more refreshes come of it than it takes.
func TestATokenLivesAsLongAsWasAskedFor(t *testing.T) {
	const life, late, need = 10 * time.Minute, 8 * time.Second, 2 * time.Minute
	for _, tt := range []struct {
		name         string
		off, setBack time.Duration
	}{
		{"the clocks agree", 0, 0},
		{"the provider's is 5 min ahead", 5 * time.Minute, 0},
		{"the provider's is 5 min behind", -5 * time.Minute, 0},
		{"the provider's is an hour behind", -time.Hour, 0},
		{"ours is set back an hour", 0, time.Hour},
		{"ours is 5 min ahead and set right", -5 * time.Minute, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, setBack := newLives(t, life, late, tt.off)
			l.consent()
			const steps, step = 300, 5 * time.Second
			for i := range steps {
				if i == steps/2 && tt.setBack > 0 {
					setBack(tt.setBack)
				}
				for _, minLife := range []time.Duration{need, 0} {
					tok, err := l.tokens.TokenFor(t.Context(), alice, l.app.Slug, minLife)
					if err != nil {
						t.Fatalf("step %d: TokenFor(%v) = %v, want a token", i, minLife, err)
					}
					if left := l.left(tok); left < need {
						t.Fatalf("step %d: TokenFor(%v) = a token that lives for %v at its provider, want %v at least", i, minLife, left, need)
					}
				}
				l.clock.advance(step)
			}
			most := int(steps*step/(life-need-late)) + 2 // one more when the clock is set
			if n := l.idp.CountCalls(idp.Token, "refresh_token"); n > most {
				t.Errorf("%d refreshes in %v, want at most %d", n, steps*step, most)
			}
		})
	}
}
