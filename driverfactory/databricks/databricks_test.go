package databricks

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/fault"
)

func TestCheck(t *testing.T) {
	const path = "/sql/1.0/warehouses/abc"
	for _, tt := range []struct {
		name    string
		options map[string]string
		account *driverfactory.ServiceAccount
		want    string // pointers and codes of the wrong places
	}{
		{name: "a warehouse", options: map[string]string{"host": "dbc-x.cloud.databricks.com", "http_path": path, "catalog": "main", "schema": "s"}},
		{name: "a cluster, as the seed writes it", options: map[string]string{"host": "dbc-x.cloud.databricks.com:443", "http_path": "sql/protocolv1/o/123/0804-a-b"}},
		{name: "a path with the id of its workspace", options: map[string]string{"host": "https://x.azuredatabricks.net/", "http_path": path + "?o=123"}},
		{name: "plain http on this machine", options: map[string]string{"host": "http://127.0.0.1:8443", "http_path": path}},
		{name: "plain http elsewhere", options: map[string]string{"host": "http://dbc-x.cloud.databricks.com", "http_path": path}, want: "options/host insecure"},
		{name: "nothing", want: "options/host required, options/http_path required"},
		{name: "a misspelt option", options: map[string]string{"host": "h", "httppath": path},
			want: "options/httppath unknown, options/http_path required"},
		{name: "a host with a path", options: map[string]string{"host": "https://h/sql", "http_path": path}, want: "options/host invalid"},
		{name: "a host with a token", options: map[string]string{"host": "https://token:x@h", "http_path": path}, want: "options/host invalid"},
		{name: "another scheme", options: map[string]string{"host": "jdbc:databricks://h", "http_path": path}, want: "options/host invalid"},
		{name: "a port that is none", options: map[string]string{"host": "h:99999", "http_path": path}, want: "options/host invalid"},
		{name: "a path that is none", options: map[string]string{"host": "h", "http_path": "/api/2.0/x"}, want: "options/http_path invalid"},
		{name: "a path that climbs", options: map[string]string{"host": "h", "http_path": "/sql/../api"}, want: "options/http_path invalid"},
		{name: "a path that is a URL", options: map[string]string{"host": "h", "http_path": "//evil.example/sql/1.0"}, want: "options/http_path invalid"},
		{name: "an account with a token", options: map[string]string{"host": "h", "http_path": path},
			account: &driverfactory.ServiceAccount{Token: driverfactory.NewSecret("t")}},
		{name: "an account with a password", options: map[string]string{"host": "h", "http_path": path},
			account: &driverfactory.ServiceAccount{User: "u", Password: driverfactory.NewSecret("p")}, want: "service_account unsupported"},
		{name: "an account with nothing", options: map[string]string{"host": "h", "http_path": path},
			account: &driverfactory.ServiceAccount{}, want: "service_account required"},
		{name: "an account with two credentials", options: map[string]string{"host": "h", "http_path": path},
			account: &driverfactory.ServiceAccount{Token: driverfactory.NewSecret("t"), OAuth: &driverfactory.ClientCredentials{}}, want: "service_account invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := New(Config{}).Check(driverfactory.Source{Name: "s", Type: "databricks", Options: tt.options, ServiceAccount: tt.account})
			if got := places(err); got != tt.want {
				t.Errorf("Check = %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

// places lists the wrong places of a Check.
func places(err error) string {
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	var out []string
	for _, f := range e.Fields {
		out = append(out, f.Pointer+" "+f.Code)
	}
	return strings.Join(out, ", ")
}

func TestOptionsOfAHost(t *testing.T) {
	for host, want := range map[string]options{
		"h":                       {scheme: "https", host: "h", port: 443, path: "/sql/x"},
		"h:8443":                  {scheme: "https", host: "h", port: 8443, path: "/sql/x"},
		"https://h/":              {scheme: "https", host: "h", port: 443, path: "/sql/x"},
		"http://localhost":        {scheme: "http", host: "localhost", port: 80, path: "/sql/x"},
		"http://127.0.0.1:1":      {scheme: "http", host: "127.0.0.1", port: 1, path: "/sql/x"},
		"http://[::1]:1":          {scheme: "http", host: "[::1]", port: 1, path: "/sql/x"},
		"httpbin.corp.example.de": {scheme: "https", host: "httpbin.corp.example.de", port: 443, path: "/sql/x"},
	} {
		want.cloudFetch = true
		src := driverfactory.Source{Options: map[string]string{"host": host, "http_path": "sql/x"}}
		c := driverfactory.NewChecker(src, optionNames...)
		got := parseOptions(c, src)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" || c.Err() != nil {
			t.Errorf("%s: %v (-want +got)\n%s", host, c.Err(), diff)
		}
	}
}

func TestValue(t *testing.T) {
	at := time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC)
	paris := time.FixedZone("CET", 3600)
	for _, tt := range []struct {
		dbType   string
		in, want any
	}{
		{"TINYINT", int8(-1), int64(-1)}, {"SMALLINT", int16(2), int64(2)}, {"INT", int32(3), int64(3)}, {"BIGINT", int64(4), int64(4)},
		{"FLOAT", float32(0.1), 0.1}, {"DOUBLE", 0.1, 0.1}, {"BOOLEAN", true, true}, {"STRING", "1.50", "1.50"}, {"STRING", nil, nil},
		{"DECIMAL", "27.50", driverfactory.Decimal("27.50")}, {"DECIMAL", []byte("27.50"), driverfactory.Decimal("27.50")},
		{"BINARY", []byte{1}, []byte{1}}, {"STRING", []byte("x"), "x"},
		{"TIMESTAMP", at.In(paris), at}, {"TIMESTAMP", "2024-02-29 01:02:03.000004", at}, {"DATE", "2024-02-29", at.Truncate(24 * time.Hour)},
		{"DATE", "not a date", "not a date"}, {"ARRAY", "[1]", "[1]"},
	} {
		if got := New(Config{}).Value(tt.dbType, -1, tt.in); !cmp.Equal(got, tt.want) {
			t.Errorf("Value(%s, %#v) = %#v, want %#v", tt.dbType, tt.in, got, tt.want)
		}
	}
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want driverfactory.Class
	}{
		{"an expired token, after a newer one did not help", &responseError{status: 403, reason: "Token is expired"}, driverfactory.AuthExpired},
		{"an unknown token", &responseError{status: 401}, driverfactory.AuthExpired},
		{"a 403 that does not say why", &responseError{status: 403}, driverfactory.AuthExpired},
		{"no right to use the warehouse", &responseError{status: 403, code: "PERMISSION_DENIED", reason: "You do not have CAN_USE"}, driverfactory.AccessDenied},
		{"an address that is not allowed", &responseError{status: 403, reason: "Source IP address is blocked"}, driverfactory.AccessDenied},
		{"a lost session", &responseError{status: 400, reason: "Invalid SessionHandle: x"}, driverfactory.SessionLost},
		{"a lost session that the driver recognised", fmt.Errorf("x: %w", driver.ErrBadConn), driverfactory.SessionLost},
		{"a lost session as a Thrift status", errors.New("databricks: execution error: Invalid SessionHandle: y"), driverfactory.SessionLost},
		{"a lost handle as a Thrift status", errors.New("thrift: invalid handle"), driverfactory.SessionLost},
		{"no such warehouse", &responseError{status: 404, reason: "ENDPOINT_NOT_FOUND"}, driverfactory.Misconfigured},
		{"a redirect to a sign-in page", &responseError{status: 302}, driverfactory.Misconfigured},
		{"a busy warehouse", &responseError{status: 503}, driverfactory.TransportFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := New(Config{}).Classify(fmt.Errorf("wrapped: %w", tt.err)); got != tt.want {
				t.Errorf("Classify = %v, want %v", got, tt.want)
			}
		})
	}
}
