package connectedapps

import (
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// limits bounds how often each of many callers does something with each app. It is safe for concurrent use.
type limits struct {
	perSecond float64
	burst     int
	limiters  *lru.Cache[string, *rate.Limiter] // by caller and app
}

func newLimits(perSecond float64, burst int) *limits {
	limiters, err := lru.New[string, *rate.Limiter](10_000)
	if err != nil {
		panic("connectedapps: " + err.Error()) // only a size below one is an error
	}
	return &limits{perSecond: perSecond, burst: burst, limiters: limiters}
}

// take takes one from what the caller may do with the app at now, or returns how long it has to wait.
func (l *limits) take(caller, app string, now time.Time) (wait time.Duration, ok bool) {
	key := strconv.Itoa(len(caller)) + ":" + caller + app
	one, ok := l.limiters.Get(key)
	if !ok {
		one = rate.NewLimiter(rate.Limit(l.perSecond), l.burst)
		if other, had, _ := l.limiters.PeekOrAdd(key, one); had {
			one = other
		}
	}
	if one.AllowN(now, 1) {
		return 0, true
	}
	return max(time.Duration((1-one.TokensAt(now))/l.perSecond*float64(time.Second)), time.Millisecond), false
}
