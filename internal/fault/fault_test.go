package fault

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestErrorIsItsKindAndItsCause(t *testing.T) {
	err := fmt.Errorf("load grant: %w", Wrap(Unavailable, io.ErrUnexpectedEOF, "The database did not answer."))
	if !errors.Is(err, Unavailable) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("errors.Is misses the kind or the cause of %v", err)
	}
	if errors.Is(err, NotFound) {
		t.Errorf("%v is NotFound, want only Unavailable", err)
	}
	if got := KindOf(err); got != Unavailable {
		t.Errorf("KindOf = %q, want %q", got, Unavailable)
	}
}

func TestErrorDoesNotPrintItsCause(t *testing.T) {
	err := Wrap(Invalid, errors.New("canary"), "The token endpoint refused the code.")
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("Error() = %q shows the cause", err)
	}
}

func TestKindOfAPlainErrorIsEmpty(t *testing.T) {
	if got := KindOf(io.EOF); got != "" {
		t.Errorf("KindOf(io.EOF) = %q, want none", got)
	}
	if got := KindOf(fmt.Errorf("x: %w", Gone)); got != Gone {
		t.Errorf("KindOf = %q, want %q", got, Gone)
	}
}
