package hooks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/script"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/securitycontext"
	"github.com/dop251/goja"
)

// Source is what driverFactory is about: a data source as it is configured.
type Source struct {
	Name    string
	Type    string
	Key     string            // below cubeCloud.userCredentials
	Options map[string]string // by their names in behalf.yaml
	User    string            // of the service account
	Service []secret.Text     // the service account's secrets
}

// Drives reports whether there is a driverFactory.
func (h *Hooks) Drives() bool { return h.has(driverFactory) }

// secretOptions are where a driver of Cube takes a credential.
var secretOptions = []string{"token", "password", "accessToken", "oauthToken", "privateKey", "connectionString"}

// AsUser asks driverFactory under which identity a query of sc runs at src: true is the person's own credential, whose
// status is given and empty where there can be none; false the service account (design.md §2.21).
//
// What else the hook returns must be what is configured: a data source is declared, and a hook cannot make another one.
func (h *Hooks) AsUser(ctx context.Context, sc securitycontext.Context, src Source, status string) (user bool, err error) {
	person := "credential-" + id.Random(16)
	err = h.call(ctx, driverFactory, func(r *script.Runtime) []goja.Value {
		c := contextOf(sc)
		claims := withCredential(claimsFor(sc), src.Key, person, status)
		c["securityContext"], c["authInfo"], c["dataSource"], c["requestId"] = claims, claims, src.Name, audit.RequestID(ctx)
		return []goja.Value{r.Value(c)}
	}, func(r *script.Runtime, v goja.Value) error {
		user, err = h.decide(r, v, src, person)
		return err
	})
	return user, err
}

// withCredential returns claims with the credential of one source as driverFactory sees it: a handle and a status.
func withCredential(claims map[string]any, key, handle, status string) map[string]any {
	claims = maps.Clone(claims)
	cloud, _ := claims["cubeCloud"].(map[string]any)
	if cloud = maps.Clone(cloud); cloud == nil {
		cloud = map[string]any{}
	}
	all, _ := cloud["userCredentials"].(map[string]any)
	if all = maps.Clone(all); all == nil {
		all = map[string]any{}
	}
	claims["cubeCloud"], cloud["userCredentials"] = cloud, all
	delete(all, key)
	if status != "" {
		entry := map[string]any{"status": status}
		if status == "active" {
			entry["accessToken"] = handle
		}
		all[key] = entry
	}
	return claims
}

// decide reads what driverFactory returned.
func (h *Hooks) decide(r *script.Runtime, v goja.Value, src Source, person string) (user bool, err error) {
	plain, err := r.Plain(v)
	if err != nil {
		return false, fmt.Errorf("it must return the settings of a driver, such as {type: %q}: what makes a driver needs Node (%w)", src.Type, err)
	}
	if kind, ok := plain.(string); ok {
		plain = map[string]any{"type": kind}
	}
	options, ok := plain.(map[string]any)
	if !ok {
		return false, wrong("it returned %s, and not the settings of a driver, such as {type: %q}", kind(plain), src.Type)
	}
	if t, _ := options["type"].(string); strings.TrimSuffix(t, "-jdbc") != src.Type {
		return false, wrong("the type is %q, and that of the data source %q is %q", t, src.Name, src.Type)
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		v := options[key]
		if key == "type" || v == nil || harmless[key] {
			continue
		}
		switch v.(type) {
		case []any, map[string]any:
			return false, wrong("there is no setting %q of a driver here", key)
		}
		switch text := fmt.Sprint(v); {
		case text == person && !slices.Contains(secretOptions, key):
			return false, wrong("the credential of the person is in %q; it belongs in one of %s", key, strings.Join(secretOptions, ", "))
		case text == person:
			user = true
		case strings.Contains(text, person):
			return false, wrong("the credential of the person is a part of the text in %q; it must be given as it is", key)
		case slices.Contains(secretOptions, key):
			if !src.service(text) {
				return false, wrong("%q is neither the credential of the person nor that of the service account of the data source %q", key, src.Name)
			}
		case !h.configured(src, key, text):
			return false, wrong("%q is not what is configured for the data source %q; declare another data source, and name it in the model", key, src.Name)
		}
	}
	return user, nil
}

// service reports whether a text is a secret of the service account.
func (s Source) service(text string) bool {
	return slices.ContainsFunc(s.Service, func(t secret.Text) bool { return !t.Empty() && t.Equal(secret.New(text)) })
}

// configured reports whether an option is what the data source has: by its name, or as a variable of Cube's from which
// the configuration was read.
func (h *Hooks) configured(src Source, key, text string) bool {
	if (key == "user" || key == "username") && text == src.User {
		return true
	}
	for name, value := range src.Options {
		if value == text && strings.EqualFold(strings.ReplaceAll(name, "_", ""), key) {
			return true
		}
	}
	for name, value := range h.cfg.Env {
		if value == text && (strings.HasPrefix(name, "CUBEJS_DB_") || strings.HasPrefix(name, "CUBEJS_DS_")) {
			return true
		}
	}
	return false
}

// harmless are settings that say nothing about where and as whom a query runs, and mean nothing here.
var harmless = map[string]bool{"acceptPolicy": true, "maxPoolSize": true, "max": true, "min": true, "ssl": true, "queryTimeout": true, "pool": true}

func scriptError(err error) (*script.Error, bool) { return errors.AsType[*script.Error](err) }
func faultError(err error) (*fault.Error, bool)   { return errors.AsType[*fault.Error](err) }
