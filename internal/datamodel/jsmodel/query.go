package jsmodel

import (
	"context"
	"errors"

	"github.com/dop251/goja"

	"github.com/behalf-project/behalf/internal/datamodel"
	"github.com/behalf-project/behalf/internal/script"
)

// script returns what computes the SQL at a path of the definition with that index, for one query: its file is run
// again, in a runtime that nobody else has had or will have, so that no value of a query can be found by another.
func (m *models) script(root string, index int, path []string) func(datamodel.ScriptInput) (*datamodel.Template, error) {
	return func(input datamodel.ScriptInput) (*datamodel.Template, error) {
		var t *datamodel.Template
		// Planning a query is not cancelled: it lasts at most as long as the limit says.
		_, err := m.run(context.Background(), root, m.config.QueryLimit, &input, func(u *run) error {
			f, err := u.find(index, path)
			if err != nil {
				return err
			}
			rec, v, _, err := u.call(index, f, datamodel.Position{File: root})
			if err != nil {
				return err
			}
			t, err = rec.template(v.String())
			if err == nil && len(t.Source) > maxText {
				err = errors.New("the SQL that the data model computes is too long")
			}
			return err
		})
		var e *script.Error
		if errors.As(err, &e) {
			return nil, errors.New(e.Message) // whoever asks need not know the files of the model
		}
		return t, err
	}
}

// find returns the function at a path of a definition.
func (u *run) find(index int, path []string) (*goja.Object, error) {
	if index >= len(u.calls) {
		return nil, errors.New("the data model does not define the same each time it is run")
	}
	v := u.calls[index].body
	for _, step := range path {
		o, ok := v.(*goja.Object)
		if !ok {
			return nil, errors.New("the data model does not define the same each time it is run")
		}
		v = o.Get(step)
	}
	f, ok := v.(*goja.Object)
	if _, function := goja.AssertFunction(v); !ok || !function {
		return nil, errors.New("the data model does not define the same each time it is run")
	}
	return f, nil
}
