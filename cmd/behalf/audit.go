package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/sqlstore"
)

// auditCommand reads the records in the store itself, beside the server or without one.
type auditCommand struct {
	Verify auditVerify `cmd:"" help:"Check that no record was changed, removed or added by anybody but the server. Exit code 1 when one was."`
	Export auditExport `cmd:"" help:"Write all records to standard output, the oldest first."`
	Tail   auditTail   `cmd:"" help:"Show the newest records, and with --follow those to come."`
}

// storeFlags say which store to read.
type storeFlags struct {
	Config string `help:"The configuration file whose store is read, as by serve." type:"path" placeholder:"FILE" env:"BEHALF_CLI_CONFIG"`
	Store  string `help:"Read this store instead, such as sqlite:behalf.db. A URL with a password goes into the environment." placeholder:"URL" env:"BEHALF_STORE_URL"`
}

// open opens the records. The caller closes them.
func (f storeFlags) open(ctx context.Context) (*sqlstore.Audit, error) {
	url := f.Store
	if url == "" {
		cfg, err := loadConfig(f.Config, "")
		if err != nil {
			return nil, err
		}
		url = cfg.Store.URL.Reveal()
	}
	records, err := sqlstore.OpenAudit(ctx, url)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Kind == fault.NotFound && f.Store == "" && f.Config == "" {
		return nil, fault.Wrap(fault.NotFound, err, "%s Say with --config which configuration the server has.", e.Detail)
	}
	return records, err
}

// auditVerify checks the chains.
type auditVerify struct {
	storeFlags
	File string   `help:"Check an export instead of a store; - is standard input." placeholder:"EXPORT.JSONL"`
	Head []string `help:"A hash that was kept from an earlier check or from a checkpoint in the log. It must be found. May be repeated." placeholder:"HASH"`
	Log  []string `help:"A log of the server, as JSON. Every checkpoint in it must be found. May be repeated." type:"path" placeholder:"FILE"`
}

// errBroken makes the exit code of what has been printed already.
var errBroken = errors.New("the audit log was changed")

// Run implements the command.
func (c *auditVerify) Run(ctx context.Context, s streams) error {
	kept, err := c.kept()
	if err != nil {
		return err
	}
	var report audit.Report
	if c.File != "" {
		report, err = verifyExport(c.File, s.In, kept)
	} else {
		var records *sqlstore.Audit
		if records, err = c.open(ctx); err != nil {
			return err
		}
		defer func() { _ = records.Close() }() // it was only read
		report, err = records.Verify(ctx, kept...)
	}
	if err != nil {
		return err
	}
	printReport(s.Out, report, len(kept))
	if !report.Intact() {
		return errBroken
	}
	return nil
}

// kept returns the heads that must be found.
func (c *auditVerify) kept() ([]audit.Head, error) {
	var kept []audit.Head
	for _, text := range c.Head {
		var h audit.Head
		if err := h.Hash.UnmarshalText([]byte(text)); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "--head %s is no hash of a record: give its 64 hexadecimal digits.", text)
		}
		kept = append(kept, h)
	}
	for _, name := range c.Log {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		heads, err := audit.ReadLog(f)
		_ = f.Close() // it was only read
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if len(heads) == 0 {
			return nil, fault.New(fault.Invalid, "%s holds no audit checkpoint. It must be a log of the server as JSON, which it is where it does not go to a terminal.", name)
		}
		kept = append(kept, heads...)
	}
	return kept, nil
}

// verifyExport checks an export. Where it ends, nobody says: it may have been cut.
func verifyExport(name string, in io.Reader, kept []audit.Head) (audit.Report, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return audit.Report{}, err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	v := audit.NewVerifier(kept...)
	if err := audit.ReadExport(in, v.Add); err != nil {
		return audit.Report{}, fmt.Errorf("%s: %w", name, err)
	}
	return v.Report(nil), nil
}

// count is n of something, in words.
func count[T int | int64](n T, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// printReport prints what was found, the first bad record first.
func printReport(w io.Writer, r audit.Report, kept int) {
	if r.Intact() {
		fmt.Fprintf(w, "Verified: %s in %s, up to #%d. Nothing was changed, removed or added.\n", count(r.Records, "record"), count(r.Chains, "chain"), r.Last)
		if kept > 0 {
			fmt.Fprintf(w, "All %d kept hashes are there.\n", kept)
		}
	} else {
		fmt.Fprintf(w, "BROKEN: the records are not as they were written. The first bad one:\n")
		for i, b := range r.Breaks {
			if i == 1 {
				fmt.Fprintln(w, "And in other chains:")
			}
			fmt.Fprintf(w, "  %s: %s\n", shown(place(b)), shown(b.Detail))
		}
		fmt.Fprintf(w, "Looked at: %s in %s.\n", count(r.Records, "record"), count(r.Chains, "chain"))
	}
	if len(r.Ends) > 0 {
		fmt.Fprintln(w, "Keep these elsewhere, and give them to the next check with --head: nothing else would show that what leads to them was cut off.")
		for _, e := range r.Ends {
			fmt.Fprintf(w, "  %s  position %d of chain %s\n", e.Hash, e.Position, shown(e.Writer))
		}
	}
}

// place names the bad record.
func place(b audit.Break) string {
	switch {
	case b.Writer == "":
		return string(b.Reason)
	case b.Position == 0:
		return fmt.Sprintf("%s: chain %s", b.Reason, b.Writer)
	case b.ID == "":
		return fmt.Sprintf("%s: position %d of chain %s", b.Reason, b.Position, b.Writer)
	}
	return fmt.Sprintf("%s: position %d of chain %s (%s)", b.Reason, b.Position, b.Writer, b.ID)
}

// filterFlags say which records are wanted.
type filterFlags struct {
	Actor   string `help:"Only what this person did: their id, or system or config." placeholder:"ID"`
	Action  string `help:"Only this, such as grant.created." placeholder:"ACTION"`
	Object  string `help:"Only what was done to this." placeholder:"ID"`
	Outcome string `help:"Only what ended so: ok, or the code of a refusal." placeholder:"OUTCOME"`
	Refused bool   `help:"Only what did not end ok."`
	Since   string `help:"Only from this time on, as 2006-01-02T15:04:05Z, or for so long, as 24h." placeholder:"TIME"`
	Until   string `help:"Only before this time." placeholder:"TIME"`
}

func (f filterFlags) filter(now time.Time) (audit.Filter, error) {
	out := audit.Filter{Actor: f.Actor, Action: audit.Action(f.Action), Object: f.Object, Outcome: f.Outcome, Refused: f.Refused}
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"since", f.Since, &out.Since}, {"until", f.Until, &out.Until}} {
		if t.text == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, t.text)
		if ago, notLong := time.ParseDuration(t.text); notLong == nil && ago > 0 {
			at, err = now.Add(-ago), nil
		}
		if err != nil {
			return out, fault.Wrap(fault.Invalid, err, "--%s %s is neither a time as 2006-01-02T15:04:05Z nor a duration as 24h.", t.flag, t.text)
		}
		*t.to = at
	}
	return out, nil
}

// auditExport writes records.
type auditExport struct {
	storeFlags
	filterFlags
	Output string `short:"o" help:"jsonl can be checked with audit verify --file as long as nothing is filtered out; csv is for a spreadsheet." enum:"jsonl,csv" default:"jsonl"`
	After  int64  `help:"Only what came after the record with this seq." placeholder:"SEQ"`
}

// Run implements the command.
func (c *auditExport) Run(ctx context.Context, s streams) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	records, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = records.Close() }() // it was only read
	out, err := audit.NewExporter(s.Out, c.Output)
	if err != nil {
		return err
	}
	ends := audit.NewVerifier() // of what is written, to be kept beside it
	if err := records.Export(ctx, filter, c.After, func(r audit.Record) error { ends.Add(r); return out.Write(r) }); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	report := ends.Report(nil)
	fmt.Fprintf(s.Err, "%d records\n", report.Records)
	if filter == (audit.Filter{}) && c.After == 0 && c.Output == audit.JSONLines {
		for _, e := range report.Ends {
			fmt.Fprintf(s.Err, "the end of chain %s: --head %s\n", shown(e.Writer), e.Hash)
		}
		if !report.Intact() {
			fmt.Fprintln(s.Err, "The records are not as they were written: run behalf audit verify.")
		}
	}
	return nil
}

// auditTail shows the newest records.
type auditTail struct {
	storeFlags
	filterFlags
	Lines  int  `short:"n" help:"How many." default:"20"`
	Follow bool `short:"f" help:"Go on with new ones until interrupted."`
}

// followEvery is how often new records are looked for.
const followEvery = time.Second

// Run implements the command.
func (c *auditTail) Run(ctx context.Context, s streams) error {
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	records, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = records.Close() }() // it was only read
	newest, err := records.Find(ctx, filter, 0, min(max(c.Lines, 1), 10_000))
	if err != nil {
		return err
	}
	var last int64
	for i := len(newest) - 1; i >= 0; i-- {
		printRecord(s.Out, newest[i])
		last = newest[i].Seq
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for c.Follow {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := records.Export(ctx, filter, last, func(r audit.Record) error {
			printRecord(s.Out, r)
			last = r.Seq
			return nil
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// printRecord prints a line: columns that tools can cut, then the facts.
func printRecord(w io.Writer, r audit.Record) {
	columns := []string{r.At.Format("2006-01-02T15:04:05.000Z"), r.Actor, string(r.Action), r.Object, r.Outcome}
	for _, name := range slices.Sorted(maps.Keys(r.Detail)) {
		columns = append(columns, name+"="+r.Detail[name])
	}
	for i, text := range columns {
		columns[i] = shown(text)
	}
	fmt.Fprintln(w, strings.Join(columns, "\t"))
}
