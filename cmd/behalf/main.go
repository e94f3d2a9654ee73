// Command behalf is the server where every query runs on behalf of the person who asked, and its command line.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/driverfactory/snowflake"
	"github.com/behalf-project/behalf/internal/apiclient"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/fault"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Exit codes (ux.md §2).
const (
	exitFailure = 1
	exitUsage   = 2
	exitInvalid = 3 // the configuration or the data model is wrong

	// Of the commands that talk to a server.
	exitSignIn      = 4 // sign in, or connect an app, first
	exitDenied      = 5
	exitNotFound    = 6
	exitConflict    = 7
	exitWaited      = 8  // nobody did what it waited for
	exitUnreachable = 10 // the server does not answer
	exitInterrupted = 130
)

// commands is the whole command line.
type commands struct {
	Demo demoCommand `cmd:"" group:"first" help:"Run the whole story with no account anywhere: an identity provider, two warehouses, an admin and two people, on this machine."`

	Login   loginCommand   `cmd:"" group:"use" help:"Sign in to a server."`
	Logout  logoutCommand  `cmd:"" group:"use" help:"Sign out of a server, and revoke the token."`
	Whoami  whoamiCommand  `cmd:"" group:"use" help:"Say who you are and where, and what your token may do."`
	Connect connectCommand `cmd:"" group:"use" help:"Connect OAuth apps as yourself, and use what you connected."`
	Tokens  tokensCommand  `cmd:"" group:"use" help:"Your personal access tokens."`

	Queries       queriesCommand       `cmd:"" group:"use" help:"What waits or runs: yours, or as an admin everybody's."`
	Preaggs       preaggsCommand       `cmd:"" group:"use" help:"The pre-aggregations that the server keeps: yours, or as an admin everybody's."`
	Orchestrators orchestratorsCommand `cmd:"" group:"use" help:"Whose sessions and results the server has. For admins."`

	Serve     serveCommand     `cmd:"" group:"run" help:"Run the server."`
	Models    modelsCommand    `cmd:"" group:"run" help:"Look at the data model."`
	Users     usersCommand     `cmd:"" group:"run" help:"Tools for declared people."`
	OAuthApps oauthAppsCommand `cmd:"" group:"run" name:"oauth-apps" help:"What is known about providers."`
	Keys      keysCommand      `cmd:"" group:"run" help:"Look at the keys that seal the store's secrets, and replace them."`
	Audit     auditCommand     `cmd:"" group:"run" help:"Read who did what, and check that nobody changed it."`

	Version versionCommand `cmd:"" group:"run" help:"Print the version."`
}

// streams are where a command reads and writes: data on Out, everything else on Err.
type streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

func main() {
	snowflake.Quiet() // before its first connection: it would ask the cloud's metadata address and unpack a library
	// The first signal asks for an orderly stop; the second ends the process at once, as the shell would.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run parses args, runs the command and returns the exit code.
func run(ctx context.Context, args []string, io streams) int {
	code := -1
	parser := newParser(ctx, io, func(n int) { code = n })
	kctx, err := parser.Parse(args)
	if code >= 0 { // --help was answered
		return code
	}
	if err != nil {
		fmt.Fprintf(io.Err, "behalf: %v\nTry: %s --help\n", err, meant(err))
		return exitUsage
	}
	return report(kctx.Run(), io.Err)
}

// meant is the command that a command line which cannot be parsed names, as far as it goes.
func meant(err error) string {
	command := "behalf"
	if e, ok := errors.AsType[*kong.ParseError](err); ok {
		for _, p := range e.Context.Path {
			if p.Command != nil {
				command += " " + p.Command.Name
			}
		}
	}
	return command
}

// newParser returns the parser of the command line. exit is called where kong itself answers, as it does --help.
func newParser(ctx context.Context, io streams, exit func(code int)) *kong.Kong {
	parser, err := kong.New(new(commands),
		kong.Name("behalf"),
		kong.Description("Every query runs on behalf of the person who asked."),
		kong.Writers(io.Out, io.Err),
		kong.Exit(exit),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "first", Title: "Try it:"},
			{Key: "use", Title: "Use a server, as yourself:"},
			{Key: "run", Title: "Run a server:"},
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(io),
	)
	if err != nil {
		panic(err) // the commands above are wrong
	}
	return parser
}

// report prints err as a person should read it and returns the exit code it means.
func report(err error, w io.Writer) int {
	if err == nil {
		return 0
	}
	if errs, ok := errors.AsType[config.Errors](err); ok {
		fmt.Fprintln(w, errs)
		return exitInvalid
	}
	if model, ok := errors.AsType[*datamodel.LoadError](err); ok {
		files := map[string]bool{}
		for _, p := range model.Problems {
			fmt.Fprintln(w, p)
			files[p.File] = true
		}
		if len(model.Problems) > 1 {
			fmt.Fprintf(w, "%d problems, in %d of the files.\n", len(model.Problems), len(files))
		}
		return exitInvalid
	}
	if u, ok := errors.AsType[usage](err); ok {
		fmt.Fprintf(w, "behalf: %s\n", string(u))
		return exitUsage
	}
	if e, ok := errors.AsType[*remoteError](err); ok && e.json {
		fmt.Fprintf(w, "%s\n", e.Document)
	} else if ok {
		fmt.Fprintf(w, "behalf: %s\n", shown(e.Problem.Error()))
		for _, f := range e.Errors {
			if !strings.Contains(e.Detail, f.Detail) { // or it is said already
				fmt.Fprintf(w, "  %s: %s\n", shown(f.Pointer), shown(f.Detail))
			}
		}
		for _, a := range e.Actions {
			if a.Href != "" {
				fmt.Fprintf(w, "  %s: %s\n", shown(a.Label), shown(a.Href))
			}
		}
		elsewhere := slices.ContainsFunc(e.Actions, func(a apiclient.Action) bool { return a.Rel == "exchange" }) // the sentence says how
		if hint := cmp.Or(hints[e.Code], e.hint); hint != "" && !elsewhere {
			fmt.Fprintln(w, "  "+hint)
		}
	} else {
		text := err.Error()
		if e, ok := errors.AsType[*fault.Error](err); ok && text == e.Error() { // as a server's refusal is printed
			text = e.Detail + " (" + e.CodeOrKind() + ")"
		}
		lines := strings.Split(text, "\n") // some have several
		for i, line := range lines {
			lines[i] = shown(line)
		}
		fmt.Fprintf(w, "behalf: %s\n", strings.Join(lines, "\n"))
	}
	return exitCode(err)
}

// shown returns what somebody else wrote, a server, a provider or whoever wrote a file, as it may stand on a terminal:
// quoted when a character of it would not be seen, but clear the screen, say something else, or turn the line round.
func shown(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}

// usage is a command line that makes no sense in the light of what is known.
type usage string

// Error returns the sentence.
func (u usage) Error() string { return string(u) }

// hints say what to do on the command line about some refusals.
var hints = map[string]string{
	"invalid_token":            "Run: behalf login",
	"insufficient_scope":       "Run: behalf login --app APP, and name all apps whose tokens you need: --app A --app B; and --connect APP to connect one by token exchange. What is everybody's needs an admin and: behalf login --operate",
	"authorization_required":   "Run: behalf connect APP",
	"reauthorization_required": "Run: behalf connect APP",
}

// exitCode is the exit code of err (ux.md §2).
func exitCode(err error) int {
	if p, ok := errors.AsType[*apiclient.Problem](err); ok {
		switch {
		case p.Status == http.StatusUnauthorized, p.Code == string(fault.AuthorizationRequired), p.Code == string(fault.ReauthorizationRequired):
			return exitSignIn
		case p.Status == http.StatusForbidden:
			return exitDenied
		case p.Status == http.StatusNotFound:
			return exitNotFound
		case p.Status == http.StatusConflict:
			return exitConflict
		case p.Status == http.StatusUnprocessableEntity:
			return exitUsage
		}
		return exitFailure
	}
	if _, ok := errors.AsType[*apiclient.Unreachable](err); ok {
		return exitUnreachable
	}
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return exitInvalid
	case fault.Unauthenticated, fault.AuthorizationRequired, fault.ReauthorizationRequired:
		return exitSignIn
	case fault.Denied:
		return exitDenied
	case fault.Timeout:
		return exitWaited
	}
	return exitFailure
}

// versionCommand prints the version.
type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(io streams) error {
	_, err := fmt.Fprintln(io.Out, "behalf", version())
	return err
}

// newLog returns a log that writes to w: lines for people on a terminal, JSON elsewhere.
func newLog(w io.Writer, level zapcore.Level) *zap.Logger {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.ISO8601TimeEncoder
	config.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(config)
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		config.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(config)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

// isTerminal reports whether f is a terminal, as far as a character device tells.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
