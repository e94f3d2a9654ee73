package jsmodel

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/script"
)

// Config says how models in JavaScript run. Nothing is required.
type Config struct {
	// Log takes what models write to console. Default: nothing is logged.
	Log *zap.Logger

	// LoadLimit is how long one file may run, and QueryLimit how long what it computes for one query may, the file
	// included. Defaults: 15 s, as in Cube, and 5 s.
	LoadLimit, QueryLimit time.Duration
}

// Language reads models in JavaScript.
type Language struct{ config Config }

// New returns the language for datamodel.Load. It is safe for concurrent use.
func New(c Config) Language {
	if c.LoadLimit == 0 {
		c.LoadLimit = 15 * time.Second
	}
	if c.QueryLimit == 0 {
		c.QueryLimit = 5 * time.Second
	}
	return Language{config: c}
}

// Reads implements datamodel.Language: .js files are models and what they import, .json files are imported.
func (Language) Reads(name string) bool {
	return slices.Contains([]string{".js", ".json"}, path.Ext(name))
}

// Read implements datamodel.Language.
func (l Language) Read(ctx context.Context, c *datamodel.Compilation, files map[string]string) ([]datamodel.Definition, []datamodel.Problem) {
	m := &models{sources: &sources{cubes: map[string]bool{}}, config: l.config, compilation: c, loaded: time.Now()}
	var problems []datamodel.Problem
	var errs script.Errors
	m.program, errs = script.Compile(script.Source{Files: files, FromFolder: true, Rewrite: m.sources.rewrite})
	broken := map[string]bool{}
	for _, e := range errs {
		broken[e.File] = true
		problems = append(problems, problemOf(e))
	}
	var definitions []datamodel.Definition
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if broken[name] || strings.HasSuffix(name, ".json") {
			continue
		}
		var found []datamodel.Definition
		var wrong []datamodel.Problem
		u, err := m.run(ctx, name, l.config.LoadLimit, nil, func(u *run) error {
			for i := range u.calls {
				found = append(found, u.definition(i))
			}
			wrong = u.problems
			return nil
		})
		if errors.Is(u.refusal, datamodel.ErrNobody) {
			c.Wait(u.refusedAt)
			continue
		}
		definitions, problems = append(definitions, found...), append(problems, wrong...)
		if err == nil {
			continue
		}
		e := &script.Error{Message: err.Error()}
		errors.As(err, &e)
		told := func(p datamodel.Problem) bool { return p.Message == e.Message }
		if p := problemOf(e); !broken[e.File] && !slices.ContainsFunc(wrong, told) {
			if p.File == "" {
				p.File = name
			}
			problems = append(problems, p)
		}
	}
	return definitions, problems
}

// problemOf returns an error of a script as a problem of the model. One without a place is at the beginning of its file.
func problemOf(e *script.Error) datamodel.Problem {
	return datamodel.Problem{Message: e.Message, Text: e.Text,
		Position: datamodel.Position{File: e.File, Line: max(e.Line, 1), Column: max(e.Column, 1)}}
}
