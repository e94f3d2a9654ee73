package webui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// file is one file of the build, in memory with its compressed twin. The twins are bounded by the build.
type file struct {
	raw       []byte
	mediaType string
	etag      string // strong, of the raw bytes
	immutable bool
	gzipped   func() []byte // nil when compressing does not pay
}

// load reads every file below files but dot-files. A folder without any is a build that was not made.
func load(files fs.FS) (map[string]*file, error) {
	all := make(map[string]*file)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == "." {
			return nil
		}
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		all["/"+name] = newFile(name, raw)
		return nil
	})
	return all, err
}

func newFile(name string, raw []byte) *file {
	sum := sha256.Sum256(raw)
	f := &file{
		raw:       raw,
		mediaType: mediaType(name),
		etag:      `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`,
		immutable: strings.HasPrefix(name, "assets/"), // the build puts a hash into the names there, and only there
	}
	if compressible(f.mediaType) && len(raw) > 1024 {
		f.gzipped = sync.OnceValue(func() []byte { return compress(raw) })
	}
	return f
}

// serve writes the file, compressed if the client takes that, or 304 if it has it already.
func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.mediaType)
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'") // an SVG opened by itself
	header.Set("Cache-Control", "no-cache")
	if f.immutable {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body, etag := f.raw, f.etag
	if f.gzipped != nil {
		header.Set("Vary", "Accept-Encoding")
		if zipped := f.gzipped(); acceptsGzip(r) && len(zipped) < len(body) {
			// A strong ETag names the bytes on the wire, so the twin has its own (RFC 9110 §8.8.3.3).
			body, etag = zipped, strings.TrimSuffix(f.etag, `"`)+`.gz"`
			header.Set("Content-Encoding", "gzip")
		}
	}
	header.Set("ETag", etag)
	if match := r.Header.Get("If-None-Match"); match != "" && strings.Contains(match, etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// mediaType does not ask the operating system's table: what a file is must not depend on the machine.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".woff2":
		return "font/woff2"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func compressible(mediaType string) bool {
	return strings.HasPrefix(mediaType, "text/") || strings.HasPrefix(mediaType, "image/svg") || mediaType == "application/json"
}

func compress(raw []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is a constant: no error
	_, _ = z.Write(raw)                                   // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// acceptsGzip reports whether the request allows gzip: listed, and not with weight zero (RFC 9110 §12.5.3).
func acceptsGzip(r *http.Request) bool {
	for _, coding := range strings.Split(r.Header.Get("Accept-Encoding"), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		value := strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		q, err := strconv.ParseFloat(value, 64)
		return weight == "" || err == nil && q > 0
	}
	return false
}
