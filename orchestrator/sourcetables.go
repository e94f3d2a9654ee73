package orchestrator

import (
	"context"
	"time"
)

// SourceRollup names a rollup that one credential keeps in its source.
type SourceRollup struct {
	Person    string // whose they are, at whatever source; empty where they are a service account's
	Holder    string // whose tables they are at the source, whatever credential they have: of a person there, or of its service account
	Scope     string // the credential, with its epoch
	Structure string // of the rows: RollupID.Structure
}

// SourceTable is a table of a rollup in its source.
type SourceTable struct {
	RollupTable
	Schema, Name string // as the source knows it, not quoted; no two tables have one Name
}

// SourceTables keeps which tables rollups have in their sources. What is not in it is not read: a table that somebody else made
// under a name of ours is nobody's. It outlives the process, and replicas share it. orchestratortest.TestSourceTables says what each
// method must do.
type SourceTables interface {
	// Begin notes that t, of which Partition, Schema and Name are set, is about to be made, until a moment at the latest. Who has
	// as many as most tables, of whatever rollup, makes no more: fault.TooMany.
	Begin(ctx context.Context, of SourceRollup, t SourceTable, now, until time.Time, most int) error

	// Built notes that t is there. From now on Tables has it, in place of the one of the same partition, which is left over. It is
	// fault.Gone where t is left over itself by now: it was not built in time, or another one took its
	// place. To say again that it is there is no error.
	Built(ctx context.Context, of SourceRollup, t SourceTable, now time.Time) error

	// Tables returns the table of each partition, in no order.
	Tables(ctx context.Context, of SourceRollup) ([]SourceTable, error)

	// Used notes that the tables were read. They are left over when that was last noted before LeftOver's unused.
	Used(ctx context.Context, of SourceRollup, now time.Time) error

	// LeftOver returns tables of a holder that are to be dropped, at most n and the oldest first: those that were begun and not
	// built in time, whatever their scope; and of those that were built the ones that were replaced before replaced, those of other
	// scopes than scope, and those that were not used since unused. Nobody is returned them again before again, and from now on
	// Tables has none of them.
	LeftOver(ctx context.Context, holder, scope string, now, replaced, unused, again time.Time, n int) ([]SourceTable, error)

	// Release has all tables of a person that were built returned by LeftOver, at whatever source they are. From now on Tables has
	// none of them. It returns of how many rollups they are.
	Release(ctx context.Context, person string, now time.Time) (rollups int, err error)

	// Dropped forgets a table that is not there any more. One that is not known is no error.
	Dropped(ctx context.Context, name string) error
}
