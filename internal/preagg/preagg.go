package preagg

import (
	"crypto/sha256"
	"time"

	"go.uber.org/zap"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/objectstore"
	"github.com/behalf-project/behalf/internal/secret"
)

// Config is what Open needs. Dir is required.
type Config struct {
	// Dir is the store's folder, made if it is missing, for its owner only. One process has it open at a time.
	Dir string

	// Objects is where tables are put for other replicas, and where theirs are found. Then Dir is a cache of it. Nil means that there
	// are no others.
	Objects objectstore.Objects

	// Sealer seals what an object says of itself, under a key that all replicas have. Required with Objects.
	Sealer Sealer

	// MaxMemory bounds what DuckDB takes, of all instances together; default 1 GiB. A quarter is for builds.
	MaxMemory int64

	// MaxOpen is how many scopes may be read at once; default 64. There are fewer where each would have less than
	// 32 MiB of MaxMemory.
	MaxOpen int

	MaxBytes         int64 // of all files; default 10 GiB
	MaxBytesPerOwner int64 // of the files of one person; default a quarter of MaxBytes
	MaxSharedBytes   int64 // of what is in Objects, whoever put it; default MaxBytes
	MaxRows          int64 // of one Table; default 20 million

	Failpoint func(Failpoint)  // told how far each Write is, by tests; default: nobody is
	Log       *zap.Logger      // default: no logging
	Now       func() time.Time // default: time.Now
}

// Sealer binds a value to its place. secret.Keyring is one.
type Sealer interface {
	Seal(plain secret.Text, p secret.Place) ([]byte, error)
	Open(sealed []byte, p secret.Place) (secret.Text, error)
}

// Failpoint is a moment of a Write at which a test may end or hold the process. In production nobody listens.
type Failpoint string

// The failpoints, in the order in which a Write passes them.
const (
	AfterFile   Failpoint = "file"    // the Parquet file is on disk, among the builds
	AfterRows   Failpoint = "rows"    // it is in its place, and nothing says so
	AfterRename Failpoint = "renamed" // the Table is there; whether a power cut leaves it is open
)

// AfterRowsPut is a failpoint behind a Write, in Run: the rows are in the object store, and nothing says so.
const AfterRowsPut Failpoint = "put"

// Failpoints lists those of a Write.
func Failpoints() []Failpoint { return []Failpoint{AfterFile, AfterRows, AfterRename} }

// ID names a rollup: whose credential fetched its rows, and how they are grouped.
type ID struct {
	Scope     driverfactory.PoolKey
	Structure [sha256.Size]byte // of everything but whose it is and how fresh: the model's definition, rendered
}

// Type is the type that the model gives a column.
type Type string

// The types, called as in the model.
const (
	String  Type = "string"
	Number  Type = "number"
	Boolean Type = "boolean"
	Time    Type = "time"
	Extreme Type = "" // of a minimum or maximum: a number or a time
)

// Column is a column of a rollup.
type Column struct {
	Name string // unique in the rollup, whatever its case
	Type Type
}

// Part is what a statement reads of one rollup: Tables of ID, under Name. Parts of one name, which have the same columns, are read as
// one table.
type Part struct {
	ID     ID
	Name   string
	Tables []Table
}

// Table is a partition of a rollup as it was built at one time, or the whole rollup where Partition is empty.
type Table struct {
	Partition string // up to 64 letters, digits, "-" and "_"
	Content   string // what its refresh keys said when it was built; up to 256 bytes of any kind
	BuiltAt   time.Time
	Rows      int64
	Bytes     int64 // of its file

	file *file // nil for one that did not come from a Store
}
