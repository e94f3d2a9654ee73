package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// asProgram makes this test binary be the program: with it in the environment, TestMain runs main.
const asProgram = "TEST_BINARY_AS_PROGRAM"

// process is `behalf serve` as a process of its own, which can be killed and stopped as processes are. What it logs
// is kept, over all its lives.
type process struct {
	t       *testing.T
	config  string // file
	environ []string
	base    string // where it is reached
	logs    *buffer

	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts the process and returns when it is ready to serve.
func (p *process) start() {
	p.t.Helper()
	p.launch()
	if err := p.ready(); err != nil {
		p.t.Fatalf("%s: %v\n%s", p.base, err, p.logs)
	}
}

// launch starts the process.
func (p *process) launch() {
	p.t.Helper()
	program, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", "--config", p.config, "--log-level", "debug")
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), p.environ...)
	cmd.Stdout, cmd.Stderr = p.logs, p.logs
	cmd.SysProcAttr = mortal()
	cmd.WaitDelay = time.Second
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the process dies with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log, or was our doing
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ended = cmd, ended
}

// ready waits until the process serves.
func (p *process) ready() error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.ended:
			return fmt.Errorf("it ended at its start")
		default:
		}
		resp, err := client.Get(p.base + "/readyz")
		if err != nil {
			continue
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("it is not ready after a minute")
}

// alive reports whether the process runs, stopped or not.
func (p *process) alive() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	p.t.Helper()
	if !p.alive() {
		return
	}
	p.signal(syscall.SIGKILL)
	p.await("killed")
}

// terminate asks the process to stop in order, and waits for it.
func (p *process) terminate() {
	p.t.Helper()
	if !p.alive() {
		return
	}
	p.signal(syscall.SIGTERM)
	p.await("asked to stop")
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s ended with %d, want 0:\n%s", p.base, code, tail(p.logs.String()))
	}
}

func (p *process) await(what string) {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(60 * time.Second):
		p.t.Errorf("%s was %s and runs on", p.base, what)
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// stop freezes the process, as a debugger or a laptop's lid does; resume lets it go on.
func (p *process) stop()   { p.signal(syscall.SIGSTOP) }
func (p *process) resume() { p.signal(syscall.SIGCONT) }

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && p.alive() {
		p.t.Errorf("%v to %s: %v", s, p.base, err)
	}
}

// tail is the end of a log.
func tail(text string) string {
	if len(text) > 8000 {
		return "…" + text[len(text)-8000:]
	}
	return text
}

// reap ends the process, in whatever state it is, when a test ends.
func (p *process) reap() {
	if p.alive() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

var lastPort atomic.Int64

// quietListener listens on a port of loopback of those that the system gives nobody by itself: who closes it can listen
// there again.
func quietListener(t *testing.T) (l net.Listener, port string) {
	t.Helper()
	const first, count = 20_000, 12_000
	lastPort.CompareAndSwap(0, int64(os.Getpid())*131)
	for range 1000 {
		port = strconv.FormatInt(first+lastPort.Add(1)%count, 10)
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			return l, port
		}
	}
	t.Fatal("no port is free")
	return nil, ""
}

// quietPort returns a port that nobody listened on a moment ago.
func quietPort(t *testing.T) string {
	t.Helper()
	l, port := quietListener(t)
	l.Close()
	return port
}

func TestTheProgramRunsAsAProcess(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "version")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("behalf ")) {
		t.Errorf("behalf version = %q, %v", out, err)
	}
}
