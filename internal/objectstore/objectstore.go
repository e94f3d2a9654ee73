// Package objectstore keeps whole objects under names, in a folder or in a cloud.
//
// Open takes the URL of a place and returns a Bucket of it:
//
//	file:<folder>                            a folder, which several machines may share
//	s3://<bucket>?region=…&endpoint=…        S3, and what speaks it: MinIO, Ceph, R2
//	gs://<bucket>                            Google Cloud Storage
//	azblob://<container>                     Azure Blob Storage
//
// With ?prefix=<folder>/ everything is below that. Who we are there is the business of each cloud's SDK, which looks in its
// usual places: variables of the environment, its own files, the machine's role. No credential is in a URL, and none in an
// error.
//
// An object is there whole or not at all; one that is put again takes the place of the one before. Every call has its end:
// a deadline that grows with the size of what is moved. What fails says which place, why, and what to do.
package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
	"gocloud.dev/gcp"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/objectstore/address"
)

// Objects is what a Bucket does. objectstoretest.TestObjects says what each method must do.
type Objects interface {
	// Put keeps size bytes of from under a name. It keeps nothing when it fails, or when from has more bytes or less.
	Put(ctx context.Context, name string, size int64, from io.Reader) error

	// Get writes an object into into. It is fault.NotFound where there is none, and fault.Invalid where it has more than max
	// bytes. What was written when it fails is of no use.
	Get(ctx context.Context, name string, max int64, into io.Writer) error

	// List returns the objects whose names begin with prefix, in the order of their names. It ends with its first error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Delete removes an object. It is no error that there is none.
	Delete(ctx context.Context, name string) error
}

// Object is what a list says of one.
type Object struct {
	Name  string
	Size  int64
	PutAt time.Time // by the clock of the store
}

const (
	callTime = 30 * time.Second // for a call that moves nothing
	slowest  = 256 << 10        // bytes in a second that a call is waited for
	pageSize = 1000             // objects, of one call of a list

	folderTries = 100 // of a list of a folder in which others write
)

// Bucket is a place with objects. It is safe for concurrent use.
type Bucket struct {
	bucket *blob.Bucket
	place  string // as it may be shown
	folder string // where it is one
}

var _ Objects = (*Bucket)(nil)

// schemes are the places there are.
var schemes = map[string]func(context.Context, *url.URL) (*blob.Bucket, error){
	"file": openFolder, "s3": openS3, "gs": openGCS, "azblob": openAzure,
}

// Open opens the place that a URL names, and makes it where it is a folder. Whether a cloud answers is found by the first call.
// Close it in the end.
func Open(ctx context.Context, url string) (*Bucket, error) {
	u, err := address.Parse(url)
	if err != nil {
		return nil, fault.New(fault.Invalid, "The URL of the object store is wrong: %s.", err)
	}
	b := &Bucket{place: u.Scheme + "://" + u.Host}
	q := u.Query()
	prefix := q.Get("prefix")
	q.Del("prefix")
	u.RawQuery = q.Encode()
	if u.Scheme == "file" {
		b.place, b.folder = "file:"+u.Path, u.Path
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	if b.bucket, err = schemes[u.Scheme](ctx, u); err != nil {
		return nil, b.failed(err, "cannot be opened", "Check objects.url and the credentials in the environment")
	}
	if prefix != "" {
		b.bucket = blob.PrefixedBucket(b.bucket, prefix)
	}
	return b, nil
}

func openFolder(_ context.Context, u *url.URL) (*blob.Bucket, error) {
	path, err := filepath.Abs(u.Path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	// A rename is whole only where both files are on one disk; and nobody but us goes into the folders.
	return fileblob.OpenBucket(path, &fileblob.Options{DirFileMode: 0o700, NoTempDir: true, Metadata: fileblob.MetadataDontWrite})
}

func openS3(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	// Whoever names an endpoint rarely has a name in the DNS for each bucket.
	if q := u.Query(); q.Has("endpoint") && !q.Has("use_path_style") {
		q.Set("use_path_style", "true")
		u.RawQuery = q.Encode()
	}
	return new(s3blob.URLOpener).OpenBucketURL(ctx, u)
}

func openGCS(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	credentials, err := gcp.DefaultCredentials(context.WithoutCancel(ctx)) // they are renewed long after Open
	if err != nil {
		return nil, err
	}
	client, err := gcp.NewHTTPClient(gcp.DefaultTransport(), gcp.CredentialsTokenSource(credentials))
	if err != nil {
		return nil, err
	}
	return (&gcsblob.URLOpener{Client: client}).OpenBucketURL(ctx, u)
}

func openAzure(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	return (&azureblob.URLOpener{MakeClient: azureblob.NewDefaultClient, ServiceURLOptions: *azureblob.NewDefaultServiceURLOptions()}).OpenBucketURL(ctx, u)
}

// Place returns the URL without what it says of how to get there.
func (b *Bucket) Place() string { return b.place }

// Close lets go of the place.
func (b *Bucket) Close() error { return b.bucket.Close() }

// within returns ctx until a call that moves size bytes has taken too long.
func within(ctx context.Context, size int64) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTime+time.Duration(size/slowest)*time.Second)
}

// Put implements Objects.
func (b *Bucket) Put(ctx context.Context, name string, size int64, from io.Reader) error {
	ctx, cancel := within(ctx, size)
	defer cancel() // before Close it keeps nothing
	w, err := b.bucket.NewWriter(ctx, name, &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err != nil {
		return b.failed(err, "did not take an object", writable)
	}
	n, err := io.Copy(w, io.LimitReader(reader{ctx, from}, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes came of an object of %d", n, size)
	}
	if err != nil {
		cancel()
		_ = w.Close() // it says that ctx is over
		return b.failed(err, "did not take an object", writable)
	}
	if err := w.Close(); err != nil {
		return b.failed(err, "did not take an object", writable)
	}
	return nil
}

// Get implements Objects.
func (b *Bucket) Get(ctx context.Context, name string, max int64, into io.Writer) error {
	ctx, cancel := within(ctx, max)
	defer cancel()
	r, err := b.bucket.NewReader(ctx, name, nil)
	if err != nil {
		return b.failed(err, "did not give an object", readable)
	}
	defer r.Close()
	n, err := io.Copy(into, io.LimitReader(reader{ctx, r}, max+1))
	switch {
	case err != nil:
		return b.failed(err, "did not give an object", readable)
	case n > max:
		return fault.New(fault.Invalid, "An object in %s has more than the %d bytes that it may have.", b.place, max)
	}
	return nil
}

// List implements Objects.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for token := blob.FirstPageToken; token != nil; {
			var page []*blob.ListObject
			var err error
			page, token, err = b.page(ctx, prefix, token)
			if err != nil {
				yield(Object{}, b.failed(err, "cannot be listed", readable))
				return
			}
			for _, o := range page {
				if !yield(Object{Name: o.Key, Size: o.Size, PutAt: o.ModTime}, nil) {
					return
				}
			}
		}
	}
}

func (b *Bucket) page(ctx context.Context, prefix string, token []byte) ([]*blob.ListObject, []byte, error) {
	ctx, cancel := within(ctx, 0)
	defer cancel()
	if ctx.Err() != nil { // a folder would not ask
		return nil, nil, ctx.Err()
	}
	for tries := 1; ; tries++ {
		page, next, err := b.bucket.ListPage(ctx, token, pageSize, &blob.ListOptions{Prefix: prefix})
		// A folder in which somebody has just put or deleted something fails where a file went under its hands.
		if b.folder == "" || tries == folderTries || gcerrors.Code(err) != gcerrors.NotFound {
			return page, next, err
		}
	}
}

// Delete implements Objects.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	ctx, cancel := within(ctx, 0)
	defer cancel()
	if err := b.bucket.Delete(ctx, name); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return b.failed(err, "did not delete an object", "Check that the credentials in the environment may delete there")
	}
	if b.folder != "" {
		b.prune(name)
	}
	return nil
}

// prune removes the folders that were of an object and are empty now. Who puts something there meanwhile may fail, and tries again.
func (b *Bucket) prune(name string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if os.Remove(filepath.Join(b.folder, filepath.FromSlash(dir))) != nil {
			return
		}
	}
}

// reader reads until ctx ends, also what would not ask.
type reader struct {
	ctx context.Context //nolint:containedctx // of one call
	r   io.Reader
}

// Read implements io.Reader.
func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// What to do about a call that failed.
const (
	writable = "Check that it is there, that it answers, and that the credentials in the environment may write there"
	readable = "Check that it is there, that it answers, and that the credentials in the environment may list and read there"
)

// failed is the fault of a call: what happened at this place, why, and what to do.
func (b *Bucket) failed(err error, what, fix string) error {
	f := &fault.Error{
		Kind: fault.Unavailable, Code: "object_store", Owner: fault.Admin,
		Detail: fmt.Sprintf("The object store %s %s: %s. %s.", b.place, what, reason(err), fix),
	}
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		f.Kind = fault.NotFound
	case errors.Is(err, context.Canceled), gcerrors.Code(err) == gcerrors.Canceled:
		f.Kind = fault.Canceled
	}
	return f
}

// queries is what follows a ? in a URL: with some clouds, a signature that is as good as a password.
var queries = regexp.MustCompile(`\?[^\s"']*`)

// maxReason is how much is kept of what an SDK says, in bytes.
const maxReason = 500

// reason is what an SDK says, in one line that may be logged.
func reason(err error) string {
	text := strings.Join(slices.Collect(strings.FieldsSeq(queries.ReplaceAllString(err.Error(), "?…"))), " ")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + " …"
	}
	return strings.TrimSuffix(text, ".")
}
