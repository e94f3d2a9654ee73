package authservertest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
)

// TestCodes checks the promises of authserver.Codes. open returns an empty store that lives until the test ends.
func TestCodes(t *testing.T, open func(*testing.T) Opened) {
	code := func(userID, name string, at time.Time) authserver.Code {
		return authserver.Code{
			ID: "cod_" + name, Hash: "hash " + name, UserID: userID, RedirectURI: "http://127.0.0.1:5000/callback", Challenge: "challenge", Name: "laptop",
			Scopes: []string{"account", "token:warehouse"}, TokenID: "tok_" + name, CreatedAt: at, ExpiresAt: at.Add(time.Minute),
		}
	}
	create := func(t *testing.T, o Opened, c authserver.Code) authserver.Code {
		t.Helper()
		if err := o.Codes.CreateCode(t.Context(), c, 10, entry); err != nil {
			t.Fatalf("CreateCode = %v, want no error", err)
		}
		return c
	}

	t.Run("a code comes back as it was stored, and counts its uses", func(t *testing.T) {
		o := open(t)
		want := create(t, o, code(o.Alice, "1", noon))
		create(t, o, code(o.Alice, "2", noon))
		for want.Uses = range 3 {
			if want.Uses > 0 {
				got, err := o.Codes.UseCode(t.Context(), want.Hash)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("UseCode = %v (-want +got):\n%s", err, diff)
				}
			}
			got, err := o.Codes.FindCode(t.Context(), want.Hash)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("FindCode = %v (-want +got):\n%s", err, diff)
			}
		}
		if other, err := o.Codes.FindCode(t.Context(), "hash 2"); err != nil || other.Uses != 0 {
			t.Errorf("FindCode of another = %+v, %v, want no use", other, err)
		}
		_, err := o.Codes.UseCode(t.Context(), "no hash")
		wantKind(t, "UseCode of none", err, fault.NotFound)
		_, err = o.Codes.FindCode(t.Context(), "no hash")
		wantKind(t, "FindCode of none", err, fault.NotFound)
	})
	t.Run("of a hundred at once one is the first", func(t *testing.T) {
		o := open(t)
		c := create(t, o, code(o.Alice, "1", noon))
		var (
			all   sync.WaitGroup
			first atomic.Int32
		)
		for range 100 {
			all.Go(func() {
				got, err := o.Codes.UseCode(t.Context(), c.Hash)
				if err != nil {
					t.Errorf("UseCode = %v, want no error", err)
				} else if got.Uses == 1 {
					first.Add(1)
				}
			})
		}
		all.Wait()
		if got, err := o.Codes.FindCode(t.Context(), c.Hash); first.Load() != 1 || err != nil || got.Uses != 100 {
			t.Errorf("%d were the first of %d, %v, want 1 of 100", first.Load(), got.Uses, err)
		}
	})
	t.Run("a day after its end it is gone", func(t *testing.T) {
		o := open(t)
		c := create(t, o, code(o.Alice, "1", noon))
		create(t, o, code(o.Bob, "2", c.ExpiresAt.AddDate(0, 0, 1)))
		if _, err := o.Codes.FindCode(t.Context(), c.Hash); err != nil {
			t.Errorf("FindCode a day after its end = %v, want it to be there still", err)
		}
		create(t, o, code(o.Bob, "3", c.ExpiresAt.AddDate(0, 0, 1).Add(time.Millisecond)))
		_, err := o.Codes.UseCode(t.Context(), c.Hash)
		wantKind(t, "UseCode of one long gone", err, fault.NotFound)
	})
	t.Run("only so many of a person live at once, and codes are nobody else's", func(t *testing.T) {
		o := open(t)
		for i := range 10 {
			create(t, o, code(o.Alice, fmt.Sprint(i), noon))
		}
		wantKind(t, "CreateCode", o.Codes.CreateCode(t.Context(), code(o.Alice, "x", noon), 10, entry), fault.TooMany)
		create(t, o, code(o.Bob, "bob", noon))
		create(t, o, code(o.Alice, "later", noon.Add(time.Minute)))
		same := code(o.Bob, "same", noon)
		same.Hash = "hash bob"
		wantKind(t, "CreateCode with a code in use", o.Codes.CreateCode(t.Context(), same, 10, entry), fault.Conflict)
		same.Hash = ""
		wantKind(t, "CreateCode without a code", o.Codes.CreateCode(t.Context(), same, 10, entry), fault.Invalid)
	})
}
