package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/behalf-project/behalf/internal/fault"
)

// maxKeyset bounds what is read as a keyset; one of a hundred keys has about 20 KB.
const maxKeyset = 1 << 20

// dataKeys is the associated data of the wrapped data keys: no other ciphertext of a master passes for them.
var dataKeys = []byte("behalf data keys")

// KMS encrypts and decrypts a few kilobytes with a key that does not leave it: a key management service. Its methods
// end when ctx does. Their errors are kinds of internal/fault whose sentence says what to do; they are ErrWrongMaster
// when sealed was not made by this key for this associated data.
type KMS interface {
	EncryptWithContext(ctx context.Context, plain, associatedData []byte) ([]byte, error)
	DecryptWithContext(ctx context.Context, sealed, associatedData []byte) ([]byte, error)
}

// ErrWrongMaster says that data keys were wrapped with another master.
var ErrWrongMaster = errors.New("wrapped with another master key")

// Master is the key that wraps the data keys: in a file, or in a KMS. It is kept outside the database, so that a dump
// of the database alone opens nothing. It is asked when the data keys are read and when they change, and never for a
// secret.
type Master struct {
	kms  KMS
	name string
}

// RemoteMaster returns the master that is the key uri of a KMS.
func RemoteMaster(uri string, kms KMS) *Master { return &Master{kms, uri} }

// Name says which master it is, to people who look for a lost one: the URI of a KMS, or the id of the key in a file.
func (m *Master) Name() string { return m.name }

// local is a key in this process.
type local struct{ aead tink.AEAD }

// EncryptWithContext implements KMS.
func (l local) EncryptWithContext(_ context.Context, plain, associatedData []byte) ([]byte, error) {
	return l.aead.Encrypt(plain, associatedData)
}

// DecryptWithContext implements KMS.
func (l local) DecryptWithContext(_ context.Context, sealed, associatedData []byte) ([]byte, error) {
	plain, err := l.aead.Decrypt(sealed, associatedData)
	if err != nil {
		return nil, ErrWrongMaster
	}
	return plain, nil
}

// heard keeps what a KMS answered: Tink puts it into a text, which has no kind.
type heard struct {
	KMS
	err error
}

// EncryptWithContext implements KMS.
func (h *heard) EncryptWithContext(ctx context.Context, plain, associatedData []byte) (sealed []byte, err error) {
	sealed, h.err = h.KMS.EncryptWithContext(ctx, plain, associatedData)
	return sealed, h.err
}

// DecryptWithContext implements KMS.
func (h *heard) DecryptWithContext(ctx context.Context, sealed, associatedData []byte) (plain []byte, err error) {
	plain, h.err = h.KMS.DecryptWithContext(ctx, sealed, associatedData)
	return plain, h.err
}

// wrap returns the keys of handle as they may be stored.
func (m *Master) wrap(ctx context.Context, handle *keyset.Handle) ([]byte, error) {
	var wrapped bytes.Buffer
	kms := &heard{KMS: m.kms}
	err := handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&wrapped), kms, dataKeys)
	if kms.err != nil {
		err = kms.err
	}
	if err != nil {
		return nil, fmt.Errorf("wrap the data keys: %w", err)
	}
	return wrapped.Bytes(), nil
}

// unwrap returns what wrap was given. It is fault.Denied and ErrWrongMaster when another master wrapped it.
func (m *Master) unwrap(ctx context.Context, wrapped []byte) (*keyset.Handle, error) {
	kms := &heard{KMS: m.kms}
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(wrapped)), kms, dataKeys)
	switch {
	case err == nil:
		return handle, nil
	case kms.err == nil: // what is stored is no keyset, whoever wrapped it
		return nil, fault.Wrap(fault.Denied, err, "The stored data keys cannot be read. Restore the table data_keys from a backup.")
	case errors.Is(kms.err, ErrWrongMaster):
		return nil, fault.Wrap(fault.Denied, kms.err, "The master key does not open the data keys: they were wrapped with another one.")
	}
	return nil, fmt.Errorf("open the data keys: %w", kms.err)
}

// OpenMaster reads the master from a keyset file (Tink, JSON). It is fault.NotFound when there is no file, and
// fault.Invalid when the file holds no usable key.
func OpenMaster(path string) (*Master, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.NotFound, err, "There is no keyset file at %s.", path)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "The keyset file %s cannot be read. Check who owns it and its mode.", path)
	}
	defer f.Close()
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(io.LimitReader(f, maxKeyset)))
	if err != nil {
		// Tink's error may quote the file, which is the key.
		return nil, fault.New(fault.Invalid, "The file %s is not a Tink keyset in JSON. Restore it from a backup.", path)
	}
	a, err := aead.New(handle)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "The keyset in %s cannot encrypt with associated data: it needs an AEAD key such as AES256_GCM.", path)
	}
	return &Master{local{a}, fmt.Sprintf("key %d of a file", handle.KeysetInfo().GetPrimaryKeyId())}, nil
}

// CreateMaster makes a new AES-256-GCM master and writes it to path, readable by its owner only. It never overwrites:
// when somebody else has made the file meanwhile, theirs is the master, and it is read.
func CreateMaster(path string) (*Master, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a master key: %w", err)
	}
	var clear bytes.Buffer
	if err := writeClear(handle, &clear); err != nil {
		return nil, fmt.Errorf("write the master key: %w", err)
	}
	if err := writeOnce(path, clear.Bytes()); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fault.Wrap(fault.Unavailable, err, "The keyset file %s cannot be made. Check that its folder exists and is writable.", path)
	}
	return OpenMaster(path)
}

// writeClear writes a keyset as the master's file holds it: in clear, because nothing is left to wrap it with.
func writeClear(handle *keyset.Handle, w io.Writer) error {
	return insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(w))
}

// writeOnce makes the file at path with all of data or not at all, on disk before it returns, or says fs.ErrExist.
// Linking a finished file is what makes it both whole and exclusive.
func writeOnce(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keyset-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
