package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.uber.org/zap"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/driverfactory/mysql/mariadbtest"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/secret"
)

// TestMySQLOfCubesVariables starts the server on nothing but Cube's variables and a model, and asks it as Cube's client
// does.
func TestMySQLOfCubesVariables(t *testing.T) {
	cfg := mariadbtest.Config(t)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	for _, statement := range []string{
		"CREATE TABLE orders (id INT PRIMARY KEY, region VARCHAR(20), amount DECIMAL(10, 2), paid BOOLEAN, created_at DATETIME)",
		"INSERT INTO orders VALUES (1, 'eu', 1.50, TRUE, '2024-07-01 21:30:00'), (2, 'eu', 2, FALSE, '2024-07-01 22:30:00'), (3, 'us', 4, TRUE, '2024-07-01 12:00:00')",
	} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	host, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, map[string]string{"model/orders.yml": `
cubes:
  - name: orders
    sql: SELECT * FROM orders WHERE {SECURITY_CONTEXT.region.filter('region')}
    dimensions:
      - {name: id, sql: id, type: number, primary_key: true}
      - {name: paid, sql: paid, type: boolean}
      - {name: created_at, sql: created_at, type: time}
    measures: [{name: total, sql: amount, type: sum}]
`})
	const key = "a secret of tests that is as long as one should be"
	at := freePort(t)
	loaded, err := config.Load(config.Options{Environ: []string{
		"CUBEJS_API_SECRET=" + key, "PORT=" + strconv.Itoa(at), "CUBEJS_DB_TYPE=mysql", "CUBEJS_DB_HOST=" + host, "CUBEJS_DB_PORT=" + port,
		"CUBEJS_DB_NAME=" + cfg.DBName, "CUBEJS_DB_USER=" + cfg.User, "CUBEJS_DB_PASS=" + cfg.Passwd,
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := assemble(t.Context(), loaded, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}()
	token, err := jwtauth.Sign(secret.New(key), map[string]any{"sub": "s1", "region": "eu"}, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	query := `{"measures":["orders.total"],"dimensions":["orders.paid"],"timezone":"Europe/Berlin","order":[["orders.created_at","asc"]],
		"timeDimensions":[{"dimension":"orders.created_at","granularity":"day","dateRange":["2024-07-01","2024-07-02"]}]}`
	var answer struct {
		Data  []map[string]any `json:"data"`
		Error string           `json:"error"`
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/cubejs-api/v1/load?query=%s", at, url.QueryEscape(query)), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", token.Reveal())
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if answer.Error != "Continue wait" {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the server does not answer: %v", err)
		}
	}
	want := []map[string]any{
		{"orders.total": "1.50", "orders.paid": float64(1), "orders.created_at.day": "2024-07-01T00:00:00.000", "orders.created_at": "2024-07-01T00:00:00.000"},
		{"orders.total": "2.00", "orders.paid": float64(0), "orders.created_at.day": "2024-07-02T00:00:00.000", "orders.created_at": "2024-07-02T00:00:00.000"},
	}
	if !reflect.DeepEqual(answer.Data, want) {
		t.Errorf("data = %v (error %q), want %v", answer.Data, answer.Error, want)
	}
}
