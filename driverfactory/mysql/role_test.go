package mysql_test

import (
	"testing"

	"github.com/behalf-project/behalf/driverfactory/mysql"
)

func TestWhatCountsAsTheRole(t *testing.T) {
	w := mysql.New()
	role := w.Role([]string{"reader@%", "`analyst`@`%`"})
	if role == "" || role != w.Role([]string{"reader@%", "`analyst`@`%`"}) {
		t.Errorf("the role is %q", role)
	}
	for _, other := range [][]string{{"writer@%", "`analyst`@`%`"}, {"reader@%", "NONE"}, {"reader@localhost", "`analyst`@`%`"}} {
		if got := w.Role(other); got == role || got == "" {
			t.Errorf("%q is the role %q, as another account with other roles is", other, got)
		}
	}
	if got := w.Role([]string{"", "`analyst`@`%`"}); got != "" {
		t.Errorf("without an account the role is %q, want one that is not known", got)
	}
}
