package main

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/webui"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take to become what a test waits for.
const patience = 30 * time.Second

// chromium is a running browser, in front of a world.
type chromium struct {
	w    *world
	root context.Context // of chromedp
	axe  string          // the accessibility checker's script
	slow sync.Mutex      // held while a test waits for its slow query to run

	pictures string // a folder for pictures of the screens; empty when nobody asked for artifacts
}

// TestChromium is what people do and see in a real browser. Its tests share one Chromium and one world, and each has
// its own profile: cookies, storage, tabs.
func TestChromium(t *testing.T) {
	c := startChromium(t)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c *chromium)
	}{
		{"the harness sees what a page must not do", testHarness},
		{"signing in", testSigningIn},
		{"an admin registers, pauses and deletes an OAuth app", testOAuthApp},
		{"a query asks to connect, in a window of its own", testConnectInWindow},
		{"a query asks to connect, and windows are blocked", testConnectInThisTab},
		{"saying no at the provider", testSayingNo},
		{"the same link shows each person their own rows", testOwnRows},
		{"revoking and authorizing again", testRevoking},
		{"running as the service account is amber and says why", testFallback},
		{"signing in the command line", testSigningInTheCommandLine},
		{"the theme is chosen, kept, and there before the first paint", testTheme},
		{"pages that are not there, or not for everybody", testRefusals},
		{"a session that has ended", testSessionEnds},
		{"signing in, connecting and querying by keyboard alone", testKeyboard},
		{"what runs is seen live, paused and cancelled, by keyboard alone", testWhatRuns},
		{"every screen: accessible, in both themes, and 320 px wide", testScreens},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}

// startChromium starts the browser and the world.
func startChromium(t *testing.T) *chromium {
	t.Helper()
	ui, err := webui.New(webui.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !ui.Built() {
		t.Fatal("The web UI is not built into this binary. Run `make ui`; it needs Node 20.19 or newer.")
	}
	axe, err := os.ReadFile("../../internal/webui/app/node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("The accessibility checker is not there: %v. Run `make ui`; it installs the UI's packages.", err)
	}
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err = exec.LookPath(name); err == nil {
			break
		}
	}
	if program == "" {
		t.Fatal("There is no Chromium on PATH. Install the Debian package chromium.")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.WindowSize(1440, 900),
		chromedp.Flag("disable-popup-blocking", false), // as people have it
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("lang", "en-US"), chromedp.Env("LANG=en_US.UTF-8", "TZ=UTC"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses its sandbox to root
	}
	allocator, cancelAllocator := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	// What the driver logs is about pages that are just changing; the tests say what a page did not become.
	root, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		cancel() // closes the browser
		cancelAllocator()
	})
	if err := chromedp.Do(root); err != nil { // without a deadline: the browser lives as long as this context
		t.Fatalf("Chromium (%s) does not start: %v", program, err)
	}
	c := &chromium{w: newWorld(t, worldConfig{}), root: root, axe: string(axe)}
	c.w.write("model/rollups.yml", rolledUp)
	c.w.restart()
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		c.pictures = t.ArtifactDir()
	}
	return c
}
