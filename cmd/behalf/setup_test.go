package main

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A newcomer starts with Cube's variables and nothing else: the console shows the link where the first admin is made,
// and it is good once.
func TestTheFirstStartMakesAnAdmin(t *testing.T) {
	inFolder(t, nil)
	port := freePort(t)
	t.Setenv("CUBEJS_API_SECRET", "secret")
	t.Setenv("PORT", fmt.Sprint(port))
	t.Setenv("BEHALF_SERVER_ADMIN_LISTEN", "off")
	ctx, stop := context.WithCancel(t.Context())
	var out, errs buffer
	done := make(chan int, 1)
	go func() { done <- run(ctx, []string{"serve"}, streams{strings.NewReader(""), &out, &errs}) }()
	defer func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("exit %d:\n%s", code, errs.String())
		}
	}()
	base := fmt.Sprintf("http://localhost:%d", port)
	await(t, base+"/livez")
	link := regexp.MustCompile(regexp.QuoteMeta(base) + `/setup/[0-9a-z]+`).FindString(errs.String())
	for deadline := time.Now().Add(time.Minute); link == "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		link = regexp.MustCompile(regexp.QuoteMeta(base) + `/setup/[0-9a-z]+`).FindString(errs.String())
	}
	if link == "" {
		t.Fatalf("the console shows no link:\n%s", errs.String())
	}

	b := newBrowser(base, "zoe")
	if a, err := b.do(ctx, http.MethodGet, base+"/setup/guess", nil, nil); err != nil || a.status != http.StatusGone {
		t.Errorf("a guessed link answers %d, %v, want 410", a.status, err)
	}
	found := func(username, password string) answer {
		t.Helper()
		page, err := b.do(ctx, http.MethodGet, link, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"username": {username}, "password": {password}}
		for _, field := range formHidden.FindAllSubmatch(page.body, -1) {
			form.Set(html.UnescapeString(string(field[1])), html.UnescapeString(string(field[2])))
		}
		a, err := b.do(ctx, http.MethodPost, link, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Sec-Fetch-Site": {"same-origin"}}, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := found("zoe", "short"); a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "12") {
		t.Errorf("a short password answers %d", a.status)
	}
	if a := found("Zoe", "a password of some length"); a.status != http.StatusSeeOther {
		t.Fatalf("making the admin answers %d: %s", a.status, a.body)
	}
	var me struct {
		Username string   `json:"username"`
		Roles    []string `json:"roles"`
	}
	if err := b.call(ctx, http.MethodGet, "/api/v1/auth/me", nil, &me); err != nil || me.Username != "zoe" || len(me.Roles) != 1 || me.Roles[0] != "admin" {
		t.Errorf("me = %+v, %v", me, err)
	}
	if a := found("mallory", "a password of some length"); a.status != http.StatusGone {
		t.Errorf("the link, used again, answers %d, want 410", a.status)
	}
	if err := newBrowser(base, "zoe").signIn(ctx, "a password of some length"); err != nil {
		t.Errorf("the admin cannot sign in: %v", err)
	}
}
