// Package address reads the URL of an object store: what objects.url may say. It looks at no place.
package address

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Parse reads the URL of an object store: file:<folder>, or s3://<bucket>, gs://<bucket> or azblob://<container>, with ?prefix=<folder>/
// and what the cloud needs to be found. A folder is the Path of the URL, as it is written. An error says what it should be, and nothing of the text,
// which may hold a password.
func Parse(text string) (*url.URL, error) {
	if folder, ok := strings.CutPrefix(text, "file:"); ok {
		if folder == "" || strings.HasPrefix(folder, "//") && !strings.HasPrefix(folder, "///") {
			return nil, errors.New("it is file:<folder>, such as file:objects or file:/srv/objects")
		}
		return &url.URL{Scheme: "file", Path: folder}, nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL") // whose text would be in err
	case u.Scheme != "s3" && u.Scheme != "gs" && u.Scheme != "azblob":
		return nil, errors.New("it is file:<folder>, s3://<bucket>, gs://<bucket> or azblob://<container>")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("it holds no password: credentials come from the environment, as the cloud's own tools take them")
	case u.Host == "" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("it is %s://<bucket>; what is in a folder of the bucket has ?prefix=<folder>/", u.Scheme)
	}
	if prefix := u.Query().Get("prefix"); prefix != "" && !strings.HasSuffix(prefix, "/") {
		return nil, errors.New("its prefix ends with a /")
	}
	return u, nil
}
