package address_test

import (
	"strings"
	"testing"

	"github.com/behalf-project/behalf/internal/objectstore/address"
)

func TestParse(t *testing.T) {
	for url, want := range map[string]string{
		"":                          "file:<folder>, s3://<bucket>",
		"objects":                   "file:<folder>, s3://<bucket>",
		"ftp://canary":              "file:<folder>, s3://<bucket>",
		"file:":                     "such as file:objects",
		"file://canary/a":           "such as file:objects",
		"s3:///a":                   "s3://<bucket>",
		"s3://a/b":                  "?prefix=<folder>/",
		"s3://a?prefix=b":           "ends with a /",
		"s3://canary:canary@bucket": "no password",
		"s3://a#canary":             "no password",
		"s3://canary\x7f":           "not a URL",
	} {
		if _, err := address.Parse(url); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("Parse(%q) = %v, want %q", url, err, want)
		}
	}
	for url, folder := range map[string]string{
		"file:objects": "objects", "file:/srv/50% of it?": "/srv/50% of it?", "file:///srv/objects": "///srv/objects",
		"s3://b?region=r&endpoint=http://h:9000&prefix=a/b/": "", "gs://b": "", "azblob://c/": "/",
	} {
		if u, err := address.Parse(url); err != nil || u.Path != folder {
			t.Errorf("Parse(%q) = %v, %v, want the folder %q", url, u, err, folder)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("file:objects")
	f.Add("s3://b?region=r&endpoint=http://h:9000&prefix=a/b/")
	f.Fuzz(func(t *testing.T, text string) {
		u, err := address.Parse(text)
		if err == nil && (u.User != nil || (u.Scheme == "file") != strings.HasPrefix(text, "file:") || u.Scheme != "file" && u.Host == "") {
			t.Errorf("Parse(%q) = %v", text, u)
		}
	})
}
