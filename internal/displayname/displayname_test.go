package displayname_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestNamesThatPeopleCanRead(t *testing.T) {
	for _, name := range []string{
		"Warehouse (prod)", "anna's <b>laptop</b>", "Größe", "日本語", "العربية", "עברית", "می\u200cخواهم", "क्\u200dष", "👩\u200d💻 laptop", "❤️", strings.Repeat("ä", 20),
	} {
		if err := displayname.Check(name, 20); err != nil {
			t.Errorf("Check(%q) = %v, want no error", name, err)
		}
		if got := displayname.Clean(name, 20); got != name {
			t.Errorf("Clean(%q) = %q, want it as it is", name, got)
		}
	}
}

func TestNamesThatHideSomething(t *testing.T) {
	for what, name := range map[string]string{
		"nothing": "", "too much": strings.Repeat("ä", 21), "not UTF-8": "a\xff", "joiners only": "\u200d\u200c", "spaces only": " \u00a0",
		"a null": "a\x00", "a line": "a\nb", "an escape": "a\x1b[2J", "C1": "a\u009b", "a line separator": "a\u2028b", "a paragraph separator": "a\u2029b",
		"an override": "a\u202eb", "an embedding": "a\u202ab", "the end of one": "a\u202cb", "an isolate": "a\u2066b", "the end of an isolate": "a\u2069b",
		"a mark to the left": "a\u200fb", "an Arabic mark": "a\u061cb", "a zero width space": "a\u200bb", "a word joiner": "a\u2060b", "a byte order mark": "\ufeffa",
		"a soft hyphen": "a\u00adb", "a tag": "a\U000e0041b", "a filler of Hangul": "a\u3164b", "a grapheme joiner": "a\u034fb",
	} {
		err := displayname.Check(name, 20)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Invalid || e.Code != map[bool]string{true: "required", false: "invalid"}[name == ""] {
			t.Errorf("%s: Check(%q) = %v, want it refused", what, name, err)
		}
		if got := displayname.Clean(name, 20); got != "" && displayname.Check(got, 20) != nil {
			t.Errorf("%s: Clean(%q) = %q, want a name that is not refused", what, name, got)
		}
	}
}
