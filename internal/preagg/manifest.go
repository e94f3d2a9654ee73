//go:build cgo

package preagg

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/behalf-project/behalf/driverfactory"
)

// format is what the files of this version say they are. Files of another one are dropped: a rollup can be built again.
const format = 2

// maxManifest bounds what is read of a file of JSON. A rollup with a thousand columns needs a tenth of it.
const maxManifest = 1 << 20

// place names the folder of a scope: a hash of its PoolKey.
type place [16]byte

// String returns the name of the folder.
func (p place) String() string { return hex.EncodeToString(p[:]) }

// placeOf returns the place of key. Each part is preceded by its length or has a fixed one, so that no two keys run into
// each other.
func placeOf(key driverfactory.PoolKey) place {
	b := []byte("behalf: scope of rollups\x00")
	for _, part := range []string{key.Domain, key.Source, key.Principal.Realm, key.Principal.Subject, key.App} {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(key.SourceRev))
	b = binary.BigEndian.AppendUint64(b, uint64(key.Epoch))
	if key.Service {
		b = append(b, 1)
	}
	sum := sha256.Sum256(b)
	return place(sum[:16])
}

// parsePlace reads the name of a folder.
func parsePlace(name string) (p place, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(p) || hex.EncodeToString(b) != name {
		return p, false
	}
	return place(b), true
}

// manifest is owner.json: it says whose the rollups beside it are.
type manifest struct {
	Format    int    `json:"format"`
	Domain    string `json:"domain"`
	Source    string `json:"source"`
	SourceRev int64  `json:"source_rev"`
	Realm     string `json:"realm,omitempty"`
	Subject   string `json:"subject,omitempty"`
	Service   bool   `json:"service,omitempty"`
	App       string `json:"app,omitempty"`
	Epoch     int64  `json:"epoch,omitempty"`
}

func encodeManifest(key driverfactory.PoolKey) ([]byte, error) {
	return json.Marshal(manifest{
		Format: format, Domain: key.Domain, Source: key.Source, SourceRev: key.SourceRev, Service: key.Service,
		Realm: key.Principal.Realm, Subject: key.Principal.Subject, App: key.App, Epoch: key.Epoch,
	})
}

// decodeManifest reads the owner.json of the folder called dir. One that was made for another folder is an error.
func decodeManifest(text []byte, dir string) (driverfactory.PoolKey, error) {
	var m manifest
	if err := decode(text, &m); err != nil {
		return driverfactory.PoolKey{}, err
	}
	key := driverfactory.PoolKey{
		Domain: m.Domain, Source: m.Source, SourceRev: m.SourceRev, Service: m.Service,
		Principal: driverfactory.Principal{Realm: m.Realm, Subject: m.Subject}, App: m.App, Epoch: m.Epoch,
	}
	switch {
	case m.Format != format:
		return driverfactory.PoolKey{}, fmt.Errorf("it is of format %d and not %d", m.Format, format)
	case placeOf(key).String() != dir:
		return driverfactory.PoolKey{}, errors.New("it was made for another folder")
	}
	return key, nil
}

// note is the .json beside a Parquet file: what is in it, and how to tell that it is whole.
type note struct {
	Format    int       `json:"format"`
	Scope     string    `json:"scope"`     // the folder it was made for
	Structure string    `json:"structure"` // and the one in that
	Partition string    `json:"partition"`
	Content   []byte    `json:"content"`
	BuiltAt   time.Time `json:"built_at"`
	Rows      int64     `json:"rows"`
	Bytes     int64     `json:"bytes"`  // of the Parquet file
	Sum       []byte    `json:"sha256"` // and its checksum
	Columns   []column  `json:"columns"`
}

// decodeNote reads the note of name in the folder structure of scope. One that was made for another place is an error.
func decodeNote(text []byte, scope, structure string, name fileName) (note, error) {
	var n note
	if err := decode(text, &n); err != nil {
		return note{}, err
	}
	if n.Format != format {
		return note{}, fmt.Errorf("it is of format %d and not %d", n.Format, format)
	}
	if n.Scope != scope || n.Structure != structure || n.Partition != name.partition {
		return note{}, errors.New("it was made for another place")
	}
	if n.Rows < 0 || n.Bytes <= 0 || len(n.Sum) != sha256.Size || len(n.Content) > maxContent || len(n.Columns) == 0 {
		return note{}, errors.New("it describes no table")
	}
	for _, c := range n.Columns {
		if !c.valid() {
			return note{}, fmt.Errorf("no build makes its column %q", c.Name)
		}
	}
	return n, nil
}

// decode reads one value of JSON, and nothing that is not part of it.
func decode(text []byte, into any) error {
	if len(text) > maxManifest {
		return errors.New("it is too large")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

const (
	maxPartition = 64
	maxContent   = 256
)

// fileName is the name of the files of a table, without what tells them apart.
type fileName struct {
	partition string
	version   int64 // grows with each Table of the partition
}

// The ends of the names of a table's files.
const (
	rowsFile   = ".parquet"
	noteFile   = ".json"
	sharedFile = ".shared" // empty: the object store has the table too
)

// String returns the name without its end.
func (n fileName) String() string { return "p" + n.partition + "_" + strconv.FormatInt(n.version, 10) }

// parseFileName reads the name of a file of a table, and reports whether it is one, which ends with end.
func parseFileName(name, end string) (fileName, bool) {
	stem, ok := strings.CutSuffix(name, end)
	i := strings.LastIndexByte(stem, '_')
	if !ok || i < 1 || stem[0] != 'p' {
		return fileName{}, false
	}
	version, err := strconv.ParseInt(stem[i+1:], 10, 64)
	n := fileName{partition: stem[1:i], version: version}
	return n, err == nil && version > 0 && validPartition(n.partition) && n.String() == stem
}

// validPartition reports whether p can be part of the name of a file, wherever that is.
func validPartition(p string) bool {
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(p) <= maxPartition
}
