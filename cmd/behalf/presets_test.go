package main

import (
	"strings"
	"testing"
)

func TestThePresetsArePrintedWithoutAServer(t *testing.T) {
	code, out, errs := command(t, "", "oauth-apps", "presets")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || errs != "" || len(lines) < 19 || !strings.HasPrefix(lines[1], "databricks ") {
		t.Errorf("exit %d, %q and\n%s\nwant a line for each preset", code, errs, out)
	}
	code, out, _ = command(t, "", "oauth-apps", "presets", "google")
	if code != 0 || !strings.Contains(out, "{redirect_uri}") || !strings.Contains(out, "access_type=offline") {
		t.Errorf("exit %d, want what to do at Google and what is special:\n%s", code, out)
	}
	code, out, errs = command(t, "", "oauth-apps", "presets", "gogle")
	if code == 0 || out != "" || !strings.Contains(errs, `did you mean "google"?`) {
		t.Errorf("exit %d, %q, %q, want a refusal that knows better", code, out, errs)
	}
}
