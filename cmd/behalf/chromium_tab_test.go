package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// tab is one tab of a person, and everything it was seen to do. Its methods fail the test when the page does not
// become what they wait for.
type tab struct {
	t    *testing.T
	c    *chromium
	ctx  context.Context
	seen *sightings
	root cdp.BackendNodeID // where elements are looked for; 0 is the document
}

// sightings are what all tabs of a profile asked the network for, and complained about.
type sightings struct {
	mu         sync.Mutex
	requests   []string
	complaints []complaint
}

type complaint struct{ text, url string }

// hear is told every event of a tab. It must not block.
func (s *sightings) hear(ev any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		s.requests = append(s.requests, ev.Request.URL)
	case *runtime.EventExceptionThrown:
		text := ev.ExceptionDetails.Text
		if x := ev.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		s.complaints = append(s.complaints, complaint{text, ev.ExceptionDetails.URL})
	case *runtime.EventConsoleAPICalled:
		if ev.Type == "error" || ev.Type == "warning" || ev.Type == "assert" {
			args, _ := json.Marshal(ev.Args) // for people to read
			s.complaints = append(s.complaints, complaint{text: "console." + string(ev.Type) + " " + string(args)})
		}
	case *cdplog.EventEntryAdded:
		if ev.Entry.Level == "error" || ev.Entry.Level == "warning" {
			s.complaints = append(s.complaints, complaint{string(ev.Entry.Source) + ": " + ev.Entry.Text, ev.Entry.URL})
		}
	}
}

// tab opens a tab in a profile of its own, in which person is signed in; nil is nobody. When the test ends, the page
// must have asked nobody but this server and the provider for anything, and must not have complained.
func (c *chromium) tab(t *testing.T, person *browser) *tab {
	t.Helper()
	b := &tab{t: t, c: c, seen: &sightings{}}
	ctx, cancel := chromedp.NewContext(c.root, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.seen.hear))
	b.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			b.shoot("failed " + filepath.Base(t.Name()))
		}
		b.seen.judge(t, c.w.base, c.w.box.IssuerURL)
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	b.size(1440, 900)
	if _, err := call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		t.Fatal(err) // as if its window were in front, whatever other tabs do
	}
	if person == nil {
		return b
	}
	own := c.w.browser(person.username) // a session of its own, which the test may end
	c.w.must(own.signIn(t.Context(), c.w.passwords[person.username]))
	base, err := url.Parse(c.w.base)
	c.w.must(err)
	for _, cookie := range own.http.Jar.Cookies(base) {
		httpOnly := true
		if _, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{
			Name: cookie.Name, Value: cookie.Value, URL: c.w.base, HTTPOnly: &httpOnly, SameSite: network.CookieSameSiteLax,
		}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// judge fails the test for every request to somebody else, and for every complaint that is left.
func (s *sightings) judge(t *testing.T, origins ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, to := range s.requests {
		u, err := url.Parse(to)
		if err != nil {
			t.Errorf("the page asked for %q: %v", to, err)
			continue
		}
		ours := u.Scheme == "about" || u.Scheme == "blob"
		for _, origin := range origins {
			ours = ours || u.Scheme+"://"+u.Host == origin
		}
		if !ours {
			t.Errorf("the page asked somebody else: %s", to)
		}
	}
	for _, c := range s.complaints {
		t.Errorf("the browser complained: %s %s", c.text, c.url)
	}
	s.requests, s.complaints = nil, nil
}

// expects takes out complaints that an answer of this status at this path was an error: this test wants it.
func (b *tab) expects(status int, path string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the browser complains about %d at %s", status, path), func() bool {
		b.seen.mu.Lock()
		defer b.seen.mu.Unlock()
		found := false
		kept := b.seen.complaints[:0]
		for _, c := range b.seen.complaints {
			u, err := url.Parse(c.url)
			if err == nil && u.Path == path && strings.Contains(c.text, "status of "+strconv.Itoa(status)) {
				found = true
				continue
			}
			kept = append(kept, c)
		}
		b.seen.complaints = kept
		return found
	})
}

// call runs one command of the protocol. A page that moves to another process meanwhile never answers, so who asks
// again and again must not wait long.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) (R, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience/8)
	defer cancel()
	return chromedp.Call(ctx, cmd, params)
}

// value runs one action that has a value, as call does.
func value[T any](b *tab, a chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience/8)
	defer cancel()
	return chromedp.Run(ctx, a)
}

// do runs actions, within one deadline.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fail("%v", err)
	}
}

// eval evaluates an expression in the page.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.fail("evaluate %.80s: %v", expression, err)
	}
	return v
}

// fail ends the test, with what the page shows.
func (b *tab) fail(format string, args ...any) {
	b.t.Helper()
	where, _ := value(b, chromedp.Location())
	b.t.Fatalf("%s\nThe page is %s and says:\n%s", fmt.Sprintf(format, args...), where, b.text())
}

// eventually fails the test unless ok becomes true.
func (b *tab) eventually(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(15 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.fail("It did not come to be: %s.", what)
		}
	}
}

// open goes to an address of the server.
func (b *tab) open(path string) *tab {
	b.t.Helper()
	b.do(chromedp.Navigate(b.c.w.base + path))
	return b
}

// text is what the page shows, spaces made single. A page that is just changing shows nothing.
func (b *tab) text() string {
	s, err := value(b, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(s), " ")
}

// sees waits until the page shows all of these texts.
func (b *tab) sees(texts ...string) *tab {
	b.t.Helper()
	for _, text := range texts {
		b.eventually(fmt.Sprintf("the page says %q", text), func() bool { return strings.Contains(b.text(), text) })
	}
	return b
}

// seesNot waits until the page does not show this text.
func (b *tab) seesNot(text string) *tab {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the page does not say %q any more", text), func() bool { return !strings.Contains(b.text(), text) })
	return b
}

// at waits until the address begins with this path and query.
func (b *tab) at(path string) *tab {
	b.t.Helper()
	b.eventually("the address is "+path, func() bool {
		where, err := value(b, chromedp.Location())
		return err == nil && strings.HasPrefix(where, b.c.w.base+path)
	})
	return b
}

// element is an element as assistive technology sees it.
type element struct {
	role, name, value string
	node              cdp.BackendNodeID
	properties        map[string]string
}

func asElement(n *accessibility.Node) element {
	read := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		var s any
		if json.Unmarshal([]byte(v.Value), &s) != nil || s == nil {
			return ""
		}
		return fmt.Sprint(s)
	}
	e := element{role: read(n.Role), name: read(n.Name), value: read(n.Value), node: n.BackendDOMNodeID, properties: map[string]string{}}
	for _, p := range n.Properties {
		e.properties[string(p.Name)] = read(p.Value)
	}
	return e
}

// all returns the elements of a role that assistive technology can reach.
func (b *tab) all(role string) ([]element, error) {
	params := accessibility.QueryAXTreeParams{Role: role, BackendNodeID: b.root}
	if b.root == 0 {
		document, err := value(b, chromedp.Evaluate[*runtime.RemoteObject](`document`))
		if err != nil {
			return nil, err
		}
		params.ObjectID = document.ObjectID
	}
	found, err := call(b, accessibility.QueryAXTree, params)
	if err != nil {
		return nil, err // mostly because the page is just changing
	}
	var out []element
	for _, n := range found.Nodes {
		if !n.Ignored {
			out = append(out, asElement(n))
		}
	}
	return out, nil
}

// has reports whether there is such an element now.
func (b *tab) has(role, name string) (element, bool) {
	e, err := b.look(role, name)
	return e, err == nil
}

// find waits for the element of this role and name, as assistive technology would say them.
func (b *tab) find(role, name string) element {
	b.t.Helper()
	var found element
	b.eventuallyThere(role, name, func() (err error) {
		found, err = b.look(role, name)
		return err
	})
	return found
}

// look returns an element that is there now.
func (b *tab) look(role, name string) (element, error) {
	all, err := b.all(role)
	if err != nil {
		return element{}, err
	}
	var names []string
	for _, e := range all {
		if e.name == name {
			return e, nil
		}
		names = append(names, e.name)
	}
	return element{}, fmt.Errorf("there are only %q", names)
}

// eventuallyThere fails the test unless ok has nothing to say against an element any more.
func (b *tab) eventuallyThere(role, name string, ok func() error) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(15 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.fail("There is no %s %q as it should be: %v.", role, name, err)
		}
	}
}

// within returns the tab as if the page were only the element of this role and name: a dialog, mostly.
func (b *tab) within(role, name string) *tab {
	b.t.Helper()
	inner := *b
	inner.root = b.find(role, name).node
	return &inner
}

// gone waits until there is no such element.
func (b *tab) gone(role, name string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("there is no %s %q any more", role, name), func() bool {
		_, there := b.has(role, name)
		return !there
	})
}

// click moves the mouse to the middle of an element and presses, once the element is there, rests, and is what the
// mouse would hit.
func (b *tab) click(role, name string) *tab {
	b.t.Helper()
	var last string
	b.eventuallyThere(role, name, func() error {
		e, err := b.look(role, name)
		if err != nil {
			return err
		}
		x, y, err := b.reach(e)
		if err != nil {
			return err
		}
		if at := fmt.Sprint(e.node, x, y); at != last { // or this is the first look
			last = at
			return fmt.Errorf("it moves: %s", at)
		}
		b.do(chromedp.MouseClickXY(x, y))
		return nil
	})
	return b
}

// reach returns where the mouse would hit e.
func (b *tab) reach(e element) (x, y float64, err error) {
	if e.properties["disabled"] == "true" {
		return 0, 0, errors.New("it is disabled")
	}
	if _, err := call(b, dom.ScrollIntoViewIfNeeded, dom.ScrollIntoViewIfNeededParams{BackendNodeID: e.node}); err != nil {
		return 0, 0, err
	}
	quads, err := call(b, dom.GetContentQuads, dom.GetContentQuadsParams{BackendNodeID: e.node})
	if err != nil || len(quads.Quads) == 0 {
		return 0, 0, errors.Join(err, errors.New("it has no place on the page"))
	}
	q := quads.Quads[0]
	x, y = (q[0]+q[4])/2, (q[1]+q[5])/2
	object, err := call(b, dom.ResolveNode, dom.ResolveNodeParams{BackendNodeID: e.node})
	if err != nil {
		return 0, 0, err
	}
	byValue := true
	hit, err := call(b, runtime.CallFunctionOn, runtime.CallFunctionOnParams{
		ObjectID: object.Object.ObjectID, ReturnByValue: &byValue,
		FunctionDeclaration: fmt.Sprintf(`function() { const at = document.elementFromPoint(%f, %f); return at !== null && this.contains(at) }`, x, y),
	})
	if err != nil {
		return 0, 0, err
	}
	if string(hit.Result.Value) != "true" {
		return 0, 0, errors.New("something covers it")
	}
	return x, y, nil
}

// keys presses keys, wherever the focus is.
func (b *tab) keys(text string) *tab {
	b.t.Helper()
	b.do(chromedp.KeyEvent(text))
	return b
}

// fill clicks into a field, and types.
func (b *tab) fill(role, name, text string) *tab {
	b.t.Helper()
	b.click(role, name)
	return b.keys(text)
}

// paste clicks into a field, and pastes.
func (b *tab) paste(role, name, text string) *tab {
	b.t.Helper()
	b.click(role, name)
	if _, err := call(b, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		b.fail("%v", err)
	}
	return b
}

// focused returns the element that has the focus.
func (b *tab) focused() element {
	active, err := value(b, chromedp.Evaluate[*runtime.RemoteObject](`document.activeElement`))
	if err != nil || active == nil || active.ObjectID == "" {
		return element{}
	}
	alone := false
	tree, err := call(b, accessibility.GetPartialAXTree, accessibility.GetPartialAXTreeParams{ObjectID: active.ObjectID, FetchRelatives: &alone})
	if err != nil || len(tree.Nodes) == 0 {
		return element{}
	}
	return asElement(tree.Nodes[0])
}

// focusIs waits until this element has the focus.
func (b *tab) focusIs(role, name string) *tab {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the focus is on the %s %q", role, name), func() bool {
		e := b.focused()
		return e.role == role && e.name == name
	})
	return b
}

// opens returns the window that act opens.
func (b *tab) opens(act func()) *tab {
	b.t.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, func(i *target.Info) bool { return i.Type == "page" })
	act()
	select {
	case id := <-opened:
		// chromedp reads the nodes of a page that it attaches to beside the events of that page, without a lock: it must
		// have come to rest.
		b.eventually("the new window has loaded", func() bool {
			targets, err := chromedp.Targets(b.c.root)
			return err == nil && slices.ContainsFunc(targets, func(i *target.Info) bool {
				return i.TargetID == id && i.Title != "" && !strings.HasSuffix(i.URL, i.Title)
			})
		})
		popup := *b
		ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id), chromedp.WithListener(b.seen.hear))
		popup.ctx = ctx
		b.t.Cleanup(cancel)
		if err := chromedp.Do(ctx); err != nil {
			b.fail("look into the new window: %v", err)
		}
		popup.size(560, 760)
		return &popup
	case <-time.After(patience):
		b.fail("No window opened.")
		return nil
	}
}

// closes waits until the tab is gone.
func (b *tab) closes() {
	b.t.Helper()
	id := chromedp.FromContext(b.ctx).Target.TargetID
	b.eventually("the window closes", func() bool {
		targets, err := chromedp.Targets(b.c.root)
		if err != nil {
			return false
		}
		for _, i := range targets {
			if i.TargetID == id {
				return false
			}
		}
		return true
	})
}

// size makes the page this large.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the page is %d by %d", width, height), func() bool {
		_, err := call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
		return err == nil
	})
}

// system sets what the person's system prefers.
func (b *tab) system(scheme string) {
	b.t.Helper()
	b.eventually("the system is "+scheme, func() bool {
		_, err := call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err == nil
	})
}

// before lets a script run at the beginning of every page that this tab opens.
func (b *tab) before(script string) {
	b.t.Helper()
	if _, err := call(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		b.fail("%v", err)
	}
}

// shoot keeps a picture of the page, where `go test -artifacts` asks for it.
func (b *tab) shoot(name string) {
	if b.c.pictures == "" {
		return
	}
	whole := true
	shot, err := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &whole})
	if err == nil {
		err = os.WriteFile(filepath.Join(b.c.pictures, strings.ReplaceAll(name, " ", "-")+".png"), shot.Data, 0o600)
	}
	if err != nil {
		b.t.Logf("no picture of %s: %v", name, err)
	}
}
