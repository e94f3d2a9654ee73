package main

import (
	"errors"
	"testing"

	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/internal/sqlstore/sqlstoretest"
	"github.com/behalf-project/behalf/oauthapps"
)

// A token is shown to the data sources of its own app. A name is nobody's alone: an app may be called as another's slug.
func TestATokenIsShownToTheDataSourceOfItsAppOnly(t *testing.T) {
	s := &server{
		apps:    oauthapps.New(oauthapps.Config{Store: sqlstoretest.OpenSQLite(t, nil).OAuthApps(), PublicURL: "https://behalf.example.com"}),
		factory: driverfactory.New(driverfactory.Config{}), // which names the source that it is asked of, and that it cannot open
		sources: map[string]driverfactory.Source{},
	}
	create := func(name, slug string, sources ...string) oauthapps.App {
		app, err := s.apps.Create(t.Context(), oauthapps.App{
			Domain: domains.DefaultID, Name: name, Slug: slug, Preset: "databricks", Host: "dbc-1.cloud.databricks.com", ClientID: "id",
			ClientSecret: oauthapps.NewSecret("secret"), DataSources: sources,
		}, "usr_admin")
		if err != nil {
			t.Fatal(err)
		}
		return app
	}
	lake, called := create("The lake", "lake"), create("lake", "another")
	named, byKey, idle := create("Named", "named", "of-named"), create("By key", "databricks"), create("Idle", "idle")
	for name, app := range map[string]string{"of-lake": "lake", "of-named": "", "of-key": "", "with-id": called.ID} {
		s.sources[name] = driverfactory.Source{Name: name, Domain: domains.DefaultID, OAuthApp: app, CredentialsKey: "databricks"}
	}
	for _, tt := range []struct {
		app  oauthapps.App
		want string
	}{{lake, "of-lake"}, {called, "with-id"}, {named, "of-named"}, {byKey, "of-key"}, {idle, ""}} {
		_, err := s.whoAmI(t.Context(), tt.app, secret.New("token"))
		asked := ""
		if e, ok := errors.AsType[*fault.Error](err); ok {
			asked = e.Params["data_source"]
		}
		if asked != tt.want {
			t.Errorf("a token of %q is shown to %q, want %q", tt.app.Name, asked, tt.want)
		}
	}
}
