// Package authservertest holds the suites for authserver.Devices and authserver.Codes: each promise that the interfaces
// make, tried on a real database.
package authservertest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/authserver"
	"github.com/behalf-project/behalf/internal/fault"
)

// Opened is a store under test, with the ids of people whom it knows.
type Opened struct {
	Devices    authserver.Devices
	Codes      authserver.Codes
	Alice, Bob string
}

var (
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	entry = audit.Entry{Actor: "usr_test", Action: audit.ProgramAllowed, Outcome: "ok"}
)

// TestDevices checks the promises of authserver.Devices. open returns an empty store that lives until the test ends.
func TestDevices(t *testing.T, open func(*testing.T) Opened) {
	create := func(t *testing.T, o Opened, name string) authserver.Device {
		t.Helper()
		d := authserver.Device{
			ID: "dev_" + name, DeviceHash: "device " + name, UserCodeHash: "user " + name, Name: "laptop", Scopes: []string{"account"},
			IP: "192.0.2.1", CreatedAt: noon, ExpiresAt: noon.Add(10 * time.Minute), Interval: 2 * time.Second,
		}
		if err := o.Devices.CreateDevice(t.Context(), d, 10); err != nil {
			t.Fatalf("CreateDevice = %v, want no error", err)
		}
		return d
	}
	poll := func(t *testing.T, o Opened, d authserver.Device, at time.Time) authserver.Device {
		t.Helper()
		got, err := o.Devices.PollDevice(t.Context(), d.DeviceHash, at)
		if err != nil {
			t.Fatalf("PollDevice = %v, want no error", err)
		}
		return got
	}
	t.Run("a program is found by its user code until it is decided or over", func(t *testing.T) {
		o := open(t)
		want := create(t, o, "1")
		got, err := o.Devices.FindDevice(t.Context(), want.UserCodeHash, noon)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("FindDevice = %v (-want +got):\n%s", err, diff)
		}
		_, err = o.Devices.FindDevice(t.Context(), want.UserCodeHash, want.ExpiresAt)
		wantKind(t, "FindDevice at its end", err, fault.NotFound)
		_, err = o.Devices.FindDevice(t.Context(), want.DeviceHash, noon)
		wantKind(t, "FindDevice by the device code", err, fault.NotFound)
		if err := o.Devices.DecideDevice(t.Context(), want.ID, o.Alice, false, noon, entry); err != nil {
			t.Fatal(err)
		}
		_, err = o.Devices.FindDevice(t.Context(), want.UserCodeHash, noon)
		wantKind(t, "FindDevice once decided", err, fault.NotFound)
	})
	t.Run("it is decided once, and not after its end", func(t *testing.T) {
		o := open(t)
		d, late := create(t, o, "1"), create(t, o, "2")
		var (
			all  sync.WaitGroup
			said atomic.Int32
		)
		for i := range 20 {
			all.Go(func() {
				if err := o.Devices.DecideDevice(t.Context(), d.ID, o.Alice, i%2 == 0, noon, entry); err == nil {
					said.Add(1)
				} else {
					wantKind(t, "DecideDevice", err, fault.Gone)
				}
			})
		}
		all.Wait()
		if said.Load() != 1 {
			t.Errorf("it was decided %d times, want once", said.Load())
		}
		wantKind(t, "DecideDevice at its end", o.Devices.DecideDevice(t.Context(), late.ID, o.Alice, true, late.ExpiresAt, entry), fault.Gone)
	})
	t.Run("an allowed program is taken once, under a hundred polls at once", func(t *testing.T) {
		o := open(t)
		d := create(t, o, "1")
		if err := o.Devices.DecideDevice(t.Context(), d.ID, o.Alice, true, noon, entry); err != nil {
			t.Fatal(err)
		}
		var (
			all   sync.WaitGroup
			taken atomic.Int32
		)
		for range 100 {
			all.Go(func() {
				got, err := o.Devices.PollDevice(t.Context(), d.DeviceHash, noon)
				if err != nil {
					t.Errorf("PollDevice = %v, want no error", err)
				} else if got.Allowed && got.UserID == o.Alice && got.TakenAt.IsZero() {
					taken.Add(1)
				}
			})
		}
		all.Wait()
		if taken.Load() != 1 {
			t.Errorf("it was taken %d times, want once", taken.Load())
		}
	})
	t.Run("a poll that comes too early makes the interval longer, and takes nothing", func(t *testing.T) {
		o := open(t)
		d := create(t, o, "1")
		poll(t, o, d, noon)
		if got := poll(t, o, d, noon.Add(time.Second)); !got.TooEarly(noon.Add(time.Second)) || got.Interval != 2*time.Second {
			t.Errorf("the early poll saw %+v, want that it is too early", got)
		}
		if err := o.Devices.DecideDevice(t.Context(), d.ID, o.Alice, true, noon, entry); err != nil {
			t.Fatal(err)
		}
		early := noon.Add(6 * time.Second) // and the interval is 7 s
		if got := poll(t, o, d, early); got.Interval != 7*time.Second || !got.TooEarly(early) {
			t.Errorf("the next poll saw %+v, want an interval of 7 s", got)
		}
		if got := poll(t, o, d, early.Add(6*time.Second)); !got.TakenAt.IsZero() || got.TooEarly(early.Add(6*time.Second)) || !got.Allowed {
			t.Errorf("the poll in time saw %+v, want it to be taken now", got)
		}
		if got := poll(t, o, d, early.Add(time.Minute)); got.TakenAt.IsZero() {
			t.Error("it was taken twice")
		}
	})
	t.Run("a program that asks without end is slowed down to a minute, and is answered after one", func(t *testing.T) {
		o := open(t)
		d := create(t, o, "1")
		poll(t, o, d, noon)
		for range 20 {
			poll(t, o, d, noon.Add(time.Second))
		}
		if got := poll(t, o, d, noon.Add(59*time.Second)); got.Interval != time.Minute || !got.TooEarly(noon.Add(59*time.Second)) {
			t.Errorf("after twenty early polls it is %+v, want an interval of a minute", got)
		}
		if got := poll(t, o, d, noon.Add(time.Minute)); got.TooEarly(noon.Add(time.Minute)) {
			t.Errorf("a minute after its first poll it is %+v, want it in time", got)
		}
	})
	t.Run("after its end nothing is taken, and a day later it is gone", func(t *testing.T) {
		o := open(t)
		d := create(t, o, "1")
		if err := o.Devices.DecideDevice(t.Context(), d.ID, o.Alice, true, noon, entry); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := poll(t, o, d, d.ExpiresAt); !got.TakenAt.IsZero() {
				t.Errorf("after its end it was taken: %+v", got)
			}
		}
		next := d
		next.ID, next.DeviceHash, next.UserCodeHash, next.CreatedAt, next.ExpiresAt = "dev_2", "d2", "u2", noon.AddDate(0, 0, 2), noon.AddDate(0, 0, 3)
		if err := o.Devices.CreateDevice(t.Context(), next, 10); err != nil {
			t.Fatal(err)
		}
		_, err := o.Devices.PollDevice(t.Context(), d.DeviceHash, noon)
		wantKind(t, "PollDevice of one long gone", err, fault.NotFound)
	})
	t.Run("only so many wait at once, and codes are nobody else's", func(t *testing.T) {
		o := open(t)
		for i := range 10 {
			create(t, o, fmt.Sprint(i))
		}
		d := another(noon)
		wantKind(t, "CreateDevice", o.Devices.CreateDevice(t.Context(), d, 10), fault.TooMany)
		d.UserCodeHash = "user 1"
		wantKind(t, "CreateDevice with a code in use", o.Devices.CreateDevice(t.Context(), d, 100), fault.Conflict)
		d.UserCodeHash = ""
		wantKind(t, "CreateDevice without a code", o.Devices.CreateDevice(t.Context(), d, 100), fault.Invalid)
	})
}

func another(at time.Time) authserver.Device {
	return authserver.Device{ID: "dev_x", DeviceHash: "device x", UserCodeHash: "user x", CreatedAt: at, ExpiresAt: at.Add(time.Minute)}
}

func wantKind(t *testing.T, what string, err error, kind fault.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%s = %v, want %s", what, err, kind)
	}
}
