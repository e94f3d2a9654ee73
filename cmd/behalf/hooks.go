package main

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/httpserver"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/restapi"
	"github.com/behalf-project/behalf/internal/script"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"go.uber.org/zap"
)

// What cube.js may require: the files of its folder, at most so many and so deep, but for the model's and packages.
const (
	hookFileCount = 500
	hookFileDepth = 4
)

// openHooks loads the cube.js beside the model folder with the configuration's limits over c; nil without one.
func openHooks(ctx context.Context, cfg config.Config, c hooks.Config, log *zap.Logger) (*hooks.Hooks, error) {
	dir := filepath.Dir(cfg.Models.Path)
	files, err := hookSources(dir, filepath.Base(cfg.Models.Path))
	if err != nil || files == nil {
		return nil, err
	}
	c.Files, c.Timeout, c.Hosts, c.Withheld, c.Log = files, cfg.Hooks.Timeout, cfg.Hooks.AllowHosts, cfg.Hooks.Variables.Withheld, log.Named("hooks")
	if c.Env == nil {
		c.Env = cfg.Hooks.Variables.Granted
	}
	h, err := hooks.Load(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, notice := range h.Notices {
		log.Warn(notice)
	}
	log.Info("hooks of "+filepath.Join(dir, hooks.File)+" run", zap.Strings("hooks", h.Defined()))
	return h, nil
}

// hookSources reads cube.js and the files beside it; nil without a cube.js.
func hookSources(dir, model string) (map[string]string, error) {
	if _, err := os.Stat(filepath.Join(dir, hooks.File)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	root := os.DirFS(dir)
	files := map[string]string{}
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && path != hooks.File:
			return fs.SkipDir // what cannot be read cannot be required
		case err != nil:
			return err
		case d.IsDir() && path != "." && (path == model || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") || strings.Count(path, "/") >= hookFileDepth):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".js") && !strings.HasSuffix(path, ".json"):
			return nil
		}
		if info, err := fs.Stat(root, path); err != nil || !info.Mode().IsRegular() || info.Size() > script.MaxFile && path != hooks.File {
			return nil
		}
		if len(files) >= hookFileCount {
			return fault.New(fault.Invalid, "%s and the folders in it hold more than %d files of JavaScript, and cube.js may require them all. Move it, with what it needs, to a folder of its own.", dir, hookFileCount)
		}
		text, err := fs.ReadFile(root, path)
		if err == nil {
			files[path] = string(text)
		}
		return err
	})
	return files, err
}

// buildHooks loads cube.js, if there is one.
func (s *server) buildHooks(ctx context.Context) (err error) {
	env, err := s.hookEnvironment()
	if err != nil {
		return err
	}
	s.hooks, err = openHooks(ctx, s.cfg, hooks.Config{
		Env:     env,
		Context: func(claims map[string]any) securitycontext.Context { return s.verifier.Context(claims) },
	}, s.log)
	return err
}

// hookEnvironment returns what process.env of hooks has. The secret of a service account is a handle there: driverFactory
// may return it, and that is all.
func (s *server) hookEnvironment() (map[string]string, error) {
	env := maps.Clone(s.cfg.Hooks.Variables.Granted)
	s.serviceHandles = map[string][]secret.Text{}
	for source, known := range serviceSecrets(s.cfg) {
		for name, value := range s.cfg.Hooks.Variables.Granted {
			switch {
			case known.Equal(secret.New(value)):
				if env[name] == value { // of the first source with this secret
					env[name] = "credential-" + id.Random(16)
				}
				s.serviceHandles[source] = append(s.serviceHandles[source], secret.New(env[name]))
			case holds(value, known):
				return nil, fault.New(fault.Invalid, "hooks.env: %s holds the secret of the service account of the data source %q among other text, and hooks must not see it; take it out of the list.", name, source)
			}
		}
	}
	return env, nil
}

// serviceSecrets are the secrets of service accounts, by their data sources.
func serviceSecrets(cfg config.Config) iter.Seq2[string, secret.Text] {
	return func(yield func(string, secret.Text) bool) {
		for _, src := range cfg.DataSources {
			if src.ServiceAccount == nil {
				continue
			}
			for _, known := range []secret.Text{src.ServiceAccount.Token, src.ServiceAccount.Password, src.ServiceAccount.PrivateKey} {
				if !known.Empty() && !yield(src.Name, known) {
					return
				}
			}
		}
	}
}

// holds reports whether a secret is in a text.
func holds(value string, known secret.Text) bool {
	return len(known.Reveal()) >= shortestSecret && strings.Contains(value, known.Reveal())
}

// shortestSecret is below what can be told from a word that happens to be the same, in bytes.
const shortestSecret = 8

// verify says who a request of the query API comes from.
func (s *server) verify(r *http.Request) (sc securitycontext.Context, err error) {
	defer func() {
		if err == nil {
			s.traces.Person(r.Context(), sc.Principal)
		}
	}()
	verify := func() (securitycontext.Context, error) { return s.verifier.Verify(r.Context(), r.Header) }
	if s.hooks == nil {
		return verify()
	}
	return s.hooks.Verify(r.Context(), hooks.Request{
		Method: r.Method, URL: r.URL.RequestURI(), Header: r.Header, Token: jwtauth.Token(r.Header),
		Remote: httpserver.ClientIP(s.cfg.Server.TrustedProxies)(r),
	}, verify)
}

// apiScopes says what a caller of the query API may do.
func (s *server) apiScopes(ctx context.Context, sc securitycontext.Context) ([]string, error) {
	everybody := restapi.DefaultScopes
	if len(s.cfg.API.Scopes) > 0 {
		everybody = s.cfg.API.Scopes
	}
	if s.hooks == nil {
		return everybody, nil
	}
	return s.hooks.Scopes(ctx, sc, restapi.Scopes, everybody)
}

// orchestratorID returns the id of the orchestrator that a caller's queries use.
func (s *server) orchestratorID(ctx context.Context, sc securitycontext.Context) (string, error) {
	configured := func(sc securitycontext.Context) string {
		name := sc.Username
		if name == "" {
			name = "default"
		}
		return strings.ReplaceAll(s.cfg.Orchestrator.ID, "{username}", name)
	}
	if s.hooks == nil {
		return configured(sc), nil
	}
	return s.hooks.OrchestratorID(ctx, sc, configured)
}

// asUser asks driverFactory under which identity a query runs.
func (s *server) asUser(ctx context.Context, sc securitycontext.Context, src driverfactory.Source, status string) (bool, error) {
	about := hooks.Source{Name: src.Name, Type: src.Type, Key: driverfactory.CredentialsKey(src), Options: src.Options, Service: s.serviceHandles[src.Name]}
	if a := src.ServiceAccount; a != nil {
		about.User = a.User
		about.Service = append(about.Service[:len(about.Service):len(about.Service)], a.Token, a.Password, a.PrivateKey)
	}
	return s.hooks.AsUser(ctx, sc, about, status)
}
