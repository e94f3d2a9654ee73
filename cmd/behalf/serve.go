package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/users"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// serveCommand runs the server.
type serveCommand struct {
	Config   string `help:"The configuration file. Without one, behalf.yaml is read if it is there, and the environment in any case." type:"path" placeholder:"FILE" env:"BEHALF_CLI_CONFIG"`
	Listen   string `help:"Listen here instead of server.listen." placeholder:"ADDRESS"`
	LogLevel string `help:"How much to log: debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"BEHALF_CLI_LOG_LEVEL"`
	Check    bool   `help:"Say whether the configuration and the data model are right, and exit."`
}

// Run implements the command.
func (c *serveCommand) Run(ctx context.Context, io streams) error {
	cfg, err := loadConfig(c.Config, c.Listen)
	if err != nil {
		return err
	}
	level, err := zapcore.ParseLevel(c.LogLevel)
	if err != nil {
		return err
	}
	log := newLog(io.Err, level)
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	if len(cfg.Unused) > 0 {
		log.Warn("these variables of Cube have no effect here", zap.Strings("unused", cfg.Unused))
	}
	if cfg.Server.DevMode {
		log.Warn("DEVELOPMENT MODE: /cubejs-api answers without a token, and shows hidden members. Never run it where others can reach it.")
	}
	if err := refuseHooks(filepath.Dir(cfg.Models.Path), cfg); err != nil {
		return err
	}
	if err := checkDeclared(cfg); err != nil {
		return err
	}
	if c.Check {
		h, err := openHooks(ctx, cfg, hooks.Config{}, log)
		if err != nil {
			return err
		}
		if _, err := openModel(ctx, cfg, h, log); err != nil { // it warns of a folder that is missing
			return err
		}
		_, err = fmt.Fprintln(io.Out, "The configuration and the data model are right.")
		return err
	}
	s, err := assemble(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer s.Close()
	if s.setup != nil { // not to the log, which others may read
		fmt.Fprintf(io.Err, "\nNobody can sign in yet. Within 15 minutes, make the first admin here:\n\n   %s%s\n\n", cfg.Server.PublicURL, s.setup.Path().Reveal())
	}
	log.Info("ready", zap.String("url", cfg.Server.PublicURL), zap.Stringer("listen", s.public.Addr()))
	return s.Run(ctx)
}

// loadConfig reads the configuration file, if there is one, and the environment.
func loadConfig(path, listen string) (config.Config, error) {
	if path == "" {
		if _, err := os.Stat("behalf.yaml"); err == nil {
			path = "behalf.yaml"
		}
	}
	environ := os.Environ()
	if listen != "" {
		environ = append(environ, "BEHALF_SERVER_LISTEN="+listen)
	}
	return config.Load(config.Options{Path: path, Environ: environ})
}

// hookFiles hold Cube configuration in code, beside the model folder.
var hookFiles = []string{"cube.py", "cube.ts"}

// refuseHooks refuses to start beside configuration in a language that does not run here: ignoring it could drop an
// access rule. For the documented per-user pattern it prints the settings that are equal to it (design.md §2.21).
func refuseHooks(dir string, cfg config.Config) error {
	for _, name := range hookFiles {
		path := filepath.Join(dir, name)
		text, err := readHead(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		message := path + " is configuration in code that does not run here, and ignoring it could drop an access rule. JavaScript runs: write it as cube.js."
		if strings.Contains(text, "userCredentials") && (strings.Contains(text, "driver_factory") || strings.Contains(text, "driverFactory")) {
			message += " What it does per person is what Behalf does by itself. Remove the file, and say the same in behalf.yaml:\n\n" + equalSettings(cfg)
		}
		return fault.New(fault.Invalid, "%s", message)
	}
	return nil
}

// readHead returns the beginning of a file.
func readHead(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b), err
}

// equalSettings prints the data sources as YAML with the fallback that the recipe in code had.
func equalSettings(cfg config.Config) string {
	var b strings.Builder
	b.WriteString("orchestrator: {id: \"CUBE_APP_{username}\"}   # what context_to_orchestrator_id returned\n")
	b.WriteString("data_sources:\n")
	for _, s := range cfg.DataSources {
		fmt.Fprintf(&b, "  - name: %s\n    type: %s\n    options:\n", s.Name, s.Type)
		for _, key := range slices.Sorted(maps.Keys(s.Options)) {
			fmt.Fprintf(&b, "      %s: %q\n", key, s.Options[key])
		}
		if s.ServiceAccount != nil && !s.ServiceAccount.Token.Empty() && s.Type == "databricks" {
			b.WriteString("    service_account: {token: {env: CUBEJS_DB_DATABRICKS_TOKEN}}\n")
		}
		b.WriteString("    fallback: service_account   # what driver_factory did for people without a token; deny is safer\n")
	}
	b.WriteString("\nOr keep the CUBEJS_DB_* variables and have no file at all: they mean the same.\n")
	return b.String()
}

// usersCommand has tools for declared people.
type usersCommand struct {
	Hash usersHash `cmd:"" help:"Read a password from standard input and print its hash, for password: in behalf.yaml."`
}

type usersHash struct{}

// Run implements the command.
func (usersHash) Run(ctx context.Context, s streams) error {
	text, err := io.ReadAll(io.LimitReader(s.In, 4096))
	if err != nil {
		return err
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return fault.New(fault.Invalid, "No password came on standard input. Try: read -rs p; printf %%s \"$p\" | behalf users hash")
	}
	hash, err := users.New(users.Config{}).Hash(ctx, secret.New(password))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.Out, hash.Reveal()) // a hash is what this command is for
	return err
}
