package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/keys"
	"github.com/behalf-project/behalf/internal/kms"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore"
	"go.uber.org/zap/zapcore"
)

// keysCommand looks at the data keys and replaces them, on the store itself.
type keysCommand struct {
	Config string `help:"The configuration file, as for serve." type:"path" placeholder:"FILE" env:"BEHALF_CLI_CONFIG"`

	List   keysList   `cmd:"" help:"List the data keys, what they sealed, and how far their rotation is."`
	Rotate keysRotate `cmd:"" help:"Replace the data keys by a new one, and seal every secret again with it."`
	Verify keysVerify `cmd:"" help:"Open every sealed value, and name those that do not open."`
	Rewrap keysRewrap `cmd:"" help:"Wrap the data keys with another master key: a new file, or a key in a KMS."`
}

type keysList struct{}

// Run implements the command.
func (keysList) Run(ctx context.Context, parent *keysCommand, s streams) error {
	db, _, err := parent.open(ctx, s, false)
	if err != nil {
		return err
	}
	defer db.Close()
	st, err := db.Keys().Status(ctx)
	if err != nil {
		return err
	}
	return printKeys(s, st)
}

func printKeys(s streams, st keys.Status) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tUSE\tVALUES\tCREATED")
	for _, k := range st.Keys {
		created := ""
		if !k.CreatedAt.IsZero() {
			created = k.CreatedAt.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%d\t%s\t%d\t%s\n", k.ID, k.Use, k.Values, created)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(s.Err, "The master key is %s.\n", st.Master)
	if st.Rotation != nil && st.Rotation.State != keys.Done {
		fmt.Fprintln(s.Err, progress(st))
	}
	return nil
}

// progress says in a sentence how far a rotation is.
func progress(st keys.Status) string {
	r := st.Rotation
	if r.Failure != "" {
		return "The rotation is held up: " + r.Failure
	}
	if len(st.Waiting) > 0 && r.State == keys.Settling {
		return fmt.Sprintf("All %d values are sealed again. The old key is kept, for a day at most, for what these may have left on their disks when they were killed: %s. Start a server there.", r.Resealed, strings.Join(st.Waiting, ", "))
	}
	if len(st.Waiting) > 0 {
		return fmt.Sprintf("The rotation waits until these hold the newest data keys: %s.", strings.Join(st.Waiting, ", "))
	}
	switch r.State {
	case keys.Announced:
		return "The new key is announced."
	case keys.Resealing:
		return fmt.Sprintf("%d of %d values are sealed again.", r.Resealed, r.Total)
	case keys.Settling:
		return fmt.Sprintf("All %d values are sealed again. The old key is removed when nothing can still be on its way, a minute after.", r.Resealed)
	}
	return fmt.Sprintf("Done: the key %d seals, and the old one is removed.", r.NewKey)
}

type keysRotate struct{}

// Run implements the command. It may be ended at any time: the server, or this command again, goes on.
func (keysRotate) Run(ctx context.Context, parent *keysCommand, s streams) error {
	db, _, err := parent.open(ctx, s, false)
	if err != nil {
		return err
	}
	defer db.Close()
	k := db.Keys().Idle()
	_, err = k.Rotate(ctx, audit.Entry{Actor: "command line"})
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == "rotation_running" {
		fmt.Fprintln(s.Err, "A rotation was begun before. It goes on.")
	} else if err != nil {
		return err
	}
	work, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- k.Run(work) }()
	defer func() { stop(); <-done }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for said := ""; ; {
		st, err := k.Status(ctx)
		if err != nil {
			return err
		}
		if p := progress(st); p != said {
			fmt.Fprintln(s.Err, p)
			said = p
		}
		if st.Rotation.State == keys.Done {
			return printKeys(s, st)
		}
		if st.Rotation.Failure != "" {
			return errors.New("the rotation is not done; when that is put right, it goes on with: behalf keys rotate")
		}
		select {
		case <-ctx.Done():
			return errors.New("the rotation is not done; it goes on when the server runs, or with: behalf keys rotate")
		case <-tick.C:
		}
	}
}

type keysVerify struct{}

// Run implements the command.
func (keysVerify) Run(ctx context.Context, parent *keysCommand, s streams) error {
	db, _, err := parent.open(ctx, s, true)
	if err != nil {
		return err
	}
	defer db.Close()
	report, err := db.Keys().Verify(ctx, func(f keys.Finding) {
		fmt.Fprintf(s.Out, "%s %s %s: %s\n", f.Table, shown(f.ID), f.Field, f.Reason)
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(report.ByKey)) {
		fmt.Fprintf(s.Err, "key %d: %d values\n", id, report.ByKey[id])
	}
	if report.Findings > 0 {
		return fmt.Errorf("%d of %d sealed values do not open", report.Findings, report.Values)
	}
	_, err = fmt.Fprintf(s.Err, "The master key opens the data keys, and they open all %d sealed values.\n", report.Values)
	return err
}

type keysRewrap struct {
	To string `required:"" help:"The new master key: a file, which is made when it is missing, or the URI of a key in a KMS." placeholder:"FILE|URI"`
}

// Run implements the command.
func (c keysRewrap) Run(ctx context.Context, parent *keysCommand, s streams) error {
	db, cfg, err := parent.open(ctx, s, false)
	if err != nil {
		return err
	}
	defer db.Close()
	master, setting, err := c.master(ctx)
	if err != nil {
		return err
	}
	if err := db.Keys().Rewrap(ctx, master, audit.Entry{Actor: "command line"}); err != nil {
		return err
	}
	fmt.Fprintf(s.Err, "The data keys are wrapped with %s, and no longer with %s. Now set it, and restart every replica:\n\n", master.Name(), cfg.Keys.Keyset.Name())
	_, err = fmt.Fprintf(s.Out, "keys: {keyset: %s}\n", setting)
	return err
}

// master returns the new master key, and how the configuration names it.
func (c keysRewrap) master(ctx context.Context) (*secret.Master, string, error) {
	if strings.Contains(c.To, "://") {
		key, err := kms.New(kms.Config{}).Open(ctx, c.To)
		if err != nil {
			return nil, "", err
		}
		return secret.RemoteMaster(c.To, key), fmt.Sprintf("%q", c.To), nil
	}
	path, err := filepath.Abs(c.To)
	if err != nil {
		return nil, "", err
	}
	master, err := secret.OpenMaster(path)
	if errors.Is(err, fault.NotFound) {
		master, err = secret.CreateMaster(path)
	}
	return master, fmt.Sprintf("{file: %q}", path), err
}

// open opens the store of the configuration, which must be there.
func (c *keysCommand) open(ctx context.Context, s streams, damaged bool) (*sqlstore.DB, config.Config, error) {
	cfg, err := loadConfig(c.Config, "")
	if err != nil {
		return nil, cfg, err
	}
	url := cfg.Store.URL.Reveal()
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, cfg, fault.Wrap(fault.NotFound, err, "There is no store %s. Say with --config which configuration the server has.", path)
		}
	}
	db, err := sqlstore.Open(ctx, sqlstore.Config{
		URL: url, Keyset: cfg.Keys.Keyset.Name(), KMS: kms.New(kms.Config{}).Open, Damaged: damaged, Log: newLog(s.Err, zapcore.WarnLevel),
	})
	if errors.Is(err, fault.Conflict) && strings.HasPrefix(url, "sqlite:") {
		return nil, cfg, fmt.Errorf("%w\nWhile the server runs, an admin rotates with POST %[2]s/api/v1/keys/rotate, and sees how far it is with GET %[2]s/api/v1/keys", err, cfg.Server.PublicURL)
	}
	return db, cfg, err
}
