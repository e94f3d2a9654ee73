package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/behalf-project/behalf/internal/adminapi"
)

// queriesCommand is what waits or runs at a server.
type queriesCommand struct {
	List   queriesList   `cmd:"" default:"withargs" help:"List your queries that wait or run. Shorter: behalf queries."`
	Tail   queriesTail   `cmd:"" help:"Follow your queries: what waits or runs, and then what changes."`
	Cancel queriesCancel `cmd:"" help:"Cancel a query, at the database too."`
}

// everybodys says whose things a command is about.
type everybodys struct {
	All bool `help:"Everybody's, and not only your own. You must be an admin, signed in with: behalf login --operate"`
}

// path adds to the path of something whose it is to be.
func (e everybodys) path(path string) string {
	if e.All {
		return path + "?all=true"
	}
	return path
}

// every calls the server for all pages of a list. page decodes one, and returns where the next begins.
func every(path string, page func(path string) (next string, err error)) error {
	at, err := url.Parse(path)
	if err != nil {
		return err
	}
	q := at.Query()
	q.Set("limit", "200")
	for {
		at.RawQuery = q.Encode()
		next, err := page(at.String())
		if err != nil || next == "" {
			return err
		}
		q.Set("cursor", next)
	}
}

type queriesList struct {
	remote
	everybodys
}

// Run implements the command.
func (c *queriesList) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	list := adminapi.QueryList{Items: []adminapi.Query{}}
	if err := every(c.path("/queries"), func(path string) (string, error) {
		var page adminapi.QueryList
		err := client.Call(ctx, http.MethodGet, path, nil, &page)
		list.Items = append(list.Items, page.Items...)
		return page.NextCursor, err
	}); err != nil {
		return c.explain(err)
	}
	return c.print(s, list, func(w io.Writer) { queryTable(w, list.Items) })
}

// queryTable writes what a person needs to know of queries.
func queryTable(w io.Writer, queries []adminapi.Query) {
	fmt.Fprintln(w, "ID\tUSER\tSTATE\tFOR\tSOURCE\tRUNS AS\tKIND\tREQUEST")
	for _, q := range queries {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(q.ID), shown(who(q.Person)), shown(stateOf(q)), since(q.Since), shown(q.DataSource),
			shown(cmp.Or(q.Account, q.RunAs)), shown(kindOf(q)), shown(q.RequestID))
	}
}

// stateOf is what a query is doing.
func stateOf(q adminapi.Query) string {
	if q.Place > 0 {
		return "#" + strconv.Itoa(q.Place) + " in line"
	}
	return q.State
}

// kindOf is what a query is for.
func kindOf(q adminapi.Query) string {
	if q.Of != "" {
		return q.Kind + " " + q.Of
	}
	return q.Kind
}

type queriesTail struct {
	remote
	everybodys
}

// Run implements the command. It ends when it is interrupted, or the server ends the view.
func (c *queriesTail) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	path := "/events?topics=queries"
	if c.All {
		path += "&all=true"
	}
	return c.explain(client.Watch(ctx, path, func(_ string, data json.RawMessage) error {
		if c.Output == "json" {
			_, err := fmt.Fprintf(s.Out, "%s\n", data)
			return err
		}
		var e adminapi.QueryEvent
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("%s sent what is no event: %w", client.Server(), err)
		}
		for _, q := range e.Items {
			if _, err := fmt.Fprintf(s.Out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(q.ID), shown(who(q.Person)), shown(stateOf(q)), shown(q.DataSource),
				shown(cmp.Or(q.Account, q.RunAs)), shown(kindOf(q)), shown(q.RequestID)); err != nil {
				return err
			}
		}
		for _, id := range e.Gone {
			if _, err := fmt.Fprintf(s.Out, "%s\t-\tended\n", shown(id)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// who is what somebody is called.
func who(p adminapi.Person) string { return cmp.Or(p.Username, p.Principal, "-") }

// since is how long something has been so.
func since(t time.Time) string { return max(time.Since(t), 0).Round(time.Second).String() }

type queriesCancel struct {
	remote
	everybodys
	ID string `arg:"" help:"Its id, as behalf queries shows it."`
}

// Run implements the command.
func (c *queriesCancel) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	var done adminapi.CanceledQuery
	if err := client.Call(ctx, http.MethodDelete, c.path("/queries/"+url.PathEscape(c.ID)), nil, &done); err != nil {
		return c.explainWith(err, "Run: behalf queries, for the ids of yours; with --all, in both commands, for everybody's")
	}
	switch {
	case done.GoesOn:
		fmt.Fprintf(s.Err, "You no longer wait for %s. It goes on for others who do.\n", shown(c.ID))
	case done.Confirmed:
		fmt.Fprintf(s.Err, "%s is cancelled.\n", shown(c.ID))
	default:
		fmt.Fprintf(s.Err, "%s is being cancelled: the database was told to, and has not let go of it yet.\n", shown(c.ID))
	}
	if c.Output != "json" {
		return nil
	}
	return c.print(s, done, nil)
}

// orchestratorsCommand is whose sessions and results a server has.
type orchestratorsCommand struct {
	List  orchestratorsList  `cmd:"" default:"withargs" help:"List the orchestrators that are open: one for each person, with their sessions and results. Shorter: behalf orchestrators."`
	Drain orchestratorsDrain `cmd:"" help:"Close somebody's idle sessions, and forget the orchestrator once its queries have ended."`
	Flush orchestratorsFlush `cmd:"" help:"Drop somebody's cached results and pre-aggregations, so that the next answer comes from the source."`
}

type orchestratorsList struct{ remote }

// Run implements the command.
func (c *orchestratorsList) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	list := adminapi.OrchestratorList{Items: []adminapi.Orchestrator{}}
	if err := every("/orchestrators", func(path string) (string, error) {
		var page adminapi.OrchestratorList
		err := client.Call(ctx, http.MethodGet, path, nil, &page)
		list.Items, list.Totals = append(list.Items, page.Items...), page.Totals
		return page.NextCursor, err
	}); err != nil {
		return c.explain(err)
	}
	if t := list.Totals; c.Output != "json" {
		fmt.Fprintf(s.Err, "%d of %d orchestrators, %d of %d sessions, %d of %d bytes of results.\n", t.Orchestrators, t.MaxOrchestrators,
			t.Sessions.Open, t.Sessions.Max, t.Cache.Bytes, t.Cache.MaxBytes)
	}
	return c.print(s, list, func(w io.Writer) {
		fmt.Fprintln(w, "ID\tNAME\tUSER\tSTATE\tSESSIONS\tIDLE\tRUNNING\tWAITING\tRESULTS\tBYTES\tUNUSED FOR")
		for _, o := range list.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", shown(o.ID), shown(o.Name), shown(o.Username), shown(o.State),
				o.Sessions.Open, o.Sessions.Idle, o.Running, o.Waiting, o.Cache.Results, o.Cache.Bytes, since(o.UsedAt))
		}
	})
}

type orchestratorsDrain struct{ oneOrchestrator }

// Run implements the command.
func (c *orchestratorsDrain) Run(ctx context.Context, s streams) error {
	var done adminapi.Drained
	return c.act(ctx, s, "drain", &done, func() string {
		return shown(done.Name) + ": " + count(done.Closed, "pool") + " of idle sessions closed, " + count(done.Under, "statement") + " under way."
	})
}

type orchestratorsFlush struct{ oneOrchestrator }

// Run implements the command.
func (c *orchestratorsFlush) Run(ctx context.Context, s streams) error {
	var done adminapi.Flushed
	return c.act(ctx, s, "flush", &done, func() string {
		return shown(done.Name) + ": " + count(done.Results, "result") + " and " + count(done.PreAggregations, "pre-aggregation") + " dropped."
	})
}

// oneOrchestrator is the orchestrator that a command is about.
type oneOrchestrator struct {
	remote
	ID string `arg:"" help:"Its id, as behalf orchestrators shows it."`
}

// act has the server do what to the orchestrator, and says what was done.
func (c *oneOrchestrator) act(ctx context.Context, s streams, what string, done any, says func() string) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	if err := client.Call(ctx, http.MethodPost, "/orchestrators/"+url.PathEscape(c.ID)+"/"+what, nil, done); err != nil {
		return c.explainWith(err, "Run: behalf orchestrators, for the ids of those that are open")
	}
	fmt.Fprintln(s.Err, says())
	if c.Output != "json" {
		return nil
	}
	return c.print(s, done, nil)
}

// preaggsCommand is what a server keeps of pre-aggregations.
type preaggsCommand struct {
	List preaggsList `cmd:"" default:"withargs" help:"List your pre-aggregations that are kept or built. Shorter: behalf preaggs."`
}

type preaggsList struct {
	remote
	everybodys
}

// Run implements the command.
func (c *preaggsList) Run(ctx context.Context, s streams) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	list := adminapi.PreAggregationList{Items: []adminapi.PreAggregation{}}
	if err := every(c.path("/preaggregations"), func(path string) (string, error) {
		var page adminapi.PreAggregationList
		err := client.Call(ctx, http.MethodGet, path, nil, &page)
		list.Items = append(list.Items, page.Items...)
		return page.NextCursor, err
	}); err != nil {
		return c.explain(err)
	}
	return c.print(s, list, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tOWNER\tSOURCE\tLAST BUILD\tPARTITIONS\tROWS\tBYTES\tBUILT AT\tSTRUCTURE")
		for _, p := range list.Items {
			owner, built := who(p.Owner), "never"
			if p.Shared {
				owner = "shared"
			}
			if p.BuiltAt != nil {
				built = when(*p.BuiltAt, built)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", shown(cmp.Or(p.Name, "-")), shown(owner), shown(p.DataSource), shown(p.State),
				p.Partitions, p.Rows, p.Bytes, built, shown(p.Structure))
		}
	})
}
