package notify_test

import (
	"fmt"
	"testing"

	"github.com/behalf-project/behalf/internal/notify"
)

func TestEverybodyHasHeardWhenPublishReturns(t *testing.T) {
	var (
		bus   notify.Bus
		heard []string
	)
	listen := func(name string) (cancel func()) {
		return bus.Subscribe(func(n notify.News) { heard = append(heard, name+" "+n.AppID) })
	}
	bus.Publish(notify.News{AppID: "0"})
	listen("a")
	cancel := listen("b")
	listen("c")
	bus.Publish(notify.News{AppID: "1"})
	cancel()
	cancel() // twice does no harm
	bus.Publish(notify.News{AppID: "2"})
	if got, want := fmt.Sprint(heard), "[a 1 b 1 c 1 a 2 c 2]"; got != want {
		t.Errorf("heard %s, want %s", got, want)
	}
}
