package sqlgen

import (
	"errors"

	"github.com/behalf-project/behalf/internal/datamodel"
)

// maxDepth bounds SQL in SQL. What a model spells out was checked when it was loaded; what a script makes was not. A
// sub-query in a sub-query counts for subqueryDepth.
const (
	maxDepth      = 500
	subqueryDepth = 25
)

// script is what a script made for this query.
type script struct {
	template *datamodel.Template
	err      error
}

// rendered returns t, or what its script makes of it for this query. A script runs once for a query.
func (p *planner) rendered(t *datamodel.Template) (*datamodel.Template, error) {
	if len(t.Nodes) != 1 {
		return t, nil
	}
	n, ok := t.Nodes[0].(datamodel.Script)
	if !ok {
		return t, nil
	}
	if done, ok := p.scripts[t]; ok {
		return done.template, done.err
	}
	made, err := n.Run(datamodel.ScriptInput{Claims: p.sc.Template, Now: p.o.Now, AllowUnsafeValues: p.o.AllowUnsafeValues})
	if err == nil {
		err = p.check(made)
	}
	if err != nil {
		err = refusal("The data model cannot make its SQL for this query: %s", err)
	}
	p.scripts[t] = script{made, err}
	return made, err
}

func refersToItself(name string) error { return refusal("The SQL of %s refers to itself", name) }

// check makes sure that what a script made names cubes and members that are there. References are looked up when they
// are evaluated.
func (p *planner) check(t *datamodel.Template) error {
	var err error
	t.Walk(func(n datamodel.Node) {
		switch n := n.(type) {
		case datamodel.CubeSQL:
			if n.Cube != "CUBE" && p.model.Rows(nil, n.Cube) == nil {
				err = errors.New("there is no cube " + n.Cube)
			}
		case datamodel.FilterParam:
			if c := p.model.Cube(n.Cube); c == nil || c.Member(n.Member) == nil {
				err = errors.New("there is no member " + n.Cube + "." + n.Member)
			}
		case datamodel.Script:
			err = errors.New("a script returned a script")
		}
	})
	return err
}
