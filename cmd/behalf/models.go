package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/datamodel/jsmodel"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"go.uber.org/zap"
)

// openModel compiles the model in the configured folder and follows its changes. A folder that is not there is an empty
// model: the broker works without. h is nil without a cube.js.
func openModel(ctx context.Context, cfg config.Config, h *hooks.Hooks, log *zap.Logger) (*datamodel.Live, error) {
	path, env := cfg.Models.Path, cfg.Models.Variables
	for source, known := range serviceSecrets(cfg) {
		for name, value := range env.Granted {
			if known.Equal(secret.New(value)) || holds(value, known) {
				return nil, fault.New(fault.Invalid, "models.env: %s holds the secret of the service account of the data source %q, and what a model holds is shown to callers as SQL; take it out of the list.", name, source)
			}
		}
	}
	if _, err := os.Stat(path); err != nil {
		log.Warn("there is no data model: the folder is missing", zap.String("path", path))
	}
	return datamodel.Open(ctx, datamodel.LiveConfig{
		Files: os.DirFS(path), Log: log, ByAppID: h != nil && h.ByAppID(), Max: cfg.Models.MaxVariants,
		Variables: datamodel.Variables{Granted: env.Granted, Withheld: env.Withheld, Unset: env.Unset},
		Load: func(ctx context.Context, c *datamodel.Compilation, files fs.FS) (*datamodel.Model, error) {
			if _, err := fs.Stat(files, "."); errors.Is(err, fs.ErrNotExist) {
				files = embed.FS{} // which is an empty folder
			}
			return c.Load(ctx, files, jsmodel.New(jsmodel.Config{Log: log}))
		},
	})
}

// modelOf returns the data model that serves a caller.
func (s *server) modelOf(ctx context.Context, sc securitycontext.Context) (*datamodel.Model, error) {
	return s.model.Model(ctx, sc.AppID, func() map[string]any { return hooks.CompileContext(sc) })
}

// modelsCommand looks at the data model.
type modelsCommand struct {
	Validate modelsValidate `cmd:"" help:"Compile the data model and list everything that is wrong with it."`
}

type modelsValidate struct {
	Path string `arg:"" optional:"" default:"model" help:"The folder of the model." type:"path"`
}

// Run implements the command.
func (c *modelsValidate) Run(ctx context.Context, io streams) error {
	if _, err := os.Stat(c.Path); err != nil {
		return fault.New(fault.NotFound, "There is no model folder %s. Name the folder of your model: behalf models validate PATH", c.Path)
	}
	// The folder alone is looked at: that there is a contextToAppId is for serve --check to see.
	compilation := &datamodel.Compilation{ByAppID: true}
	model, err := compilation.Load(ctx, os.DirFS(c.Path), jsmodel.New(jsmodel.Config{}))
	if perApp, ok := errors.AsType[*datamodel.PerAppID](err); ok {
		_, err = fmt.Fprintf(io.Out, "Nothing wrong, as far as it can be told before somebody asks: %v, which takes contextToAppId in cube.js.\n", perApp)
		return err
	}
	if err != nil {
		return err
	}
	for _, n := range model.Notices() {
		fmt.Fprintln(io.Err, n)
	}
	noun := "cubes and views"
	if len(model.Cubes()) == 1 {
		noun = "cube or view"
	}
	_, err = fmt.Fprintf(io.Out, "%d %s, nothing wrong.\n", len(model.Cubes()), noun)
	return err
}
