package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/behalf-project/behalf/internal/audit"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/id"
	"github.com/behalf-project/behalf/internal/notify"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// OAuthApps keeps OAuth apps: an oauthapps.Store.
type OAuthApps struct{ db *DB }

var _ oauthapps.Store = (*OAuthApps)(nil)

// appRow is an OAuth app as its table holds it.
type appRow struct {
	ID            string `db:"id"`
	Domain        string `db:"domain"`
	Name          string `db:"name"`
	Slug          string `db:"slug"`
	Preset        string `db:"preset"`
	Host          string `db:"host"`
	Issuer        string `db:"issuer"`
	AuthURL       string `db:"auth_url"`
	TokenURL      string `db:"token_url"`
	RevocationURL string `db:"revocation_url"`
	UserinfoURL   string `db:"userinfo_url"`
	JWKSURL       string `db:"jwks_url"`
	IssInResponse bool   `db:"iss_in_response"`
	ClientID      string `db:"client_id"`
	ClientSecret  []byte `db:"client_secret"`
	AuthMethod    string `db:"auth_method"`
	Scopes        list   `db:"scopes"`
	AuthParams    facts  `db:"auth_params"`
	DataSources   list   `db:"data_sources"`
	Paused        bool   `db:"paused"`
	PausedNote    string `db:"paused_note"`
	BrokenAt      int64  `db:"broken_at"`
	BrokenCode    string `db:"broken_code"`
	Origin        string `db:"origin"`
	SecretSetAt   int64  `db:"secret_set_at"`
	CreatedAt     int64  `db:"created_at"`
	UpdatedAt     int64  `db:"updated_at"`
	Rev           int64  `db:"rev"`
	IdentityMatch string `db:"identity_match"`

	ClientSecretNext  []byte `db:"client_secret_next"`
	NextSetAt         int64  `db:"next_set_at"`
	NextInUse         bool   `db:"next_in_use"`
	PrivateKey        []byte `db:"private_key"`
	PrivateKeySetAt   int64  `db:"private_key_set_at"`
	AssertionAudience string `db:"assertion_audience"`
	PARURL            string `db:"par_url"`
	PARRequired       bool   `db:"par_required"`
	IntrospectionURL  string `db:"introspection_url"`
	Resources         list   `db:"resources"`
	DPoP              string `db:"dpop"`
	DPoPOffered       bool   `db:"dpop_offered"`
	ExchangeAudiences list   `db:"exchange_audiences"`

	SubjectIssuers subjectIssuers `db:"subject_issuers"`
	HandOut        string         `db:"hand_out"`
}

const appColumns = `id, domain, name, slug, preset, host, issuer, auth_url, token_url, revocation_url, userinfo_url, jwks_url,
	iss_in_response, client_id, client_secret, auth_method, scopes, auth_params, data_sources, paused, paused_note,
	broken_at, broken_code, origin, secret_set_at, created_at, updated_at, rev, client_secret_next, next_set_at, next_in_use,
	private_key, private_key_set_at, assertion_audience, par_url, par_required, introspection_url, resources, dpop, dpop_offered,
	exchange_audiences, subject_issuers, hand_out, identity_match`

func appPlace(a oauthapps.App, field string) secret.Place {
	return sealedApps.at(field, a.ID, a.Domain)
}

// sealApp returns a as a row.
func (s *OAuthApps) sealApp(a oauthapps.App) (appRow, error) {
	clientSecret, err := s.db.keyring.Seal(a.ClientSecret, appPlace(a, "client_secret"))
	if err != nil {
		return appRow{}, err
	}
	next, err := s.db.keyring.Seal(a.ClientSecretNext, appPlace(a, "client_secret_next"))
	if err != nil {
		return appRow{}, err
	}
	privateKey, err := s.db.keyring.Seal(a.PrivateKey, appPlace(a, "private_key"))
	if err != nil {
		return appRow{}, err
	}
	return appRow{
		ID: a.ID, Domain: a.Domain, Name: a.Name, Slug: a.Slug, Preset: a.Preset, Host: a.Host, Issuer: a.Issuer,
		AuthURL: a.AuthURL, TokenURL: a.TokenURL, RevocationURL: a.RevocationURL, UserinfoURL: a.UserinfoURL,
		JWKSURL: a.JWKSURL, IssInResponse: a.IssInResponse, ClientID: a.ClientID, ClientSecret: clientSecret,
		AuthMethod: string(a.AuthMethod), Scopes: a.Scopes, AuthParams: a.AuthParams, DataSources: a.DataSources,
		Paused: a.Paused, PausedNote: a.PausedNote, BrokenAt: millis(a.BrokenAt), BrokenCode: a.BrokenCode, Origin: a.Origin,
		SecretSetAt: millis(a.SecretSet), CreatedAt: millis(a.CreatedAt), UpdatedAt: millis(a.UpdatedAt), Rev: a.Rev,
		IdentityMatch:    string(a.IdentityMatch),
		ClientSecretNext: next, NextSetAt: millis(a.NextSecretSet), NextInUse: a.NextInUse, PrivateKey: privateKey,
		PrivateKeySetAt: millis(a.PrivateKeySet), AssertionAudience: string(a.AssertionAudience), PARURL: a.PARURL, PARRequired: a.PARRequired,
		IntrospectionURL: a.IntrospectionURL, Resources: a.Resources, DPoP: string(a.DPoP), DPoPOffered: a.DPoPOffered,
		ExchangeAudiences: a.ExchangeAudiences, SubjectIssuers: a.SubjectIssuers, HandOut: string(a.HandOut),
	}, nil
}

// openApp returns the OAuth app of row.
func (s *OAuthApps) openApp(row appRow) (oauthapps.App, error) {
	a := oauthapps.App{
		ID: row.ID, Domain: row.Domain, Name: row.Name, Slug: row.Slug, Preset: row.Preset, Host: row.Host, Issuer: row.Issuer,
		AuthURL: row.AuthURL, TokenURL: row.TokenURL, RevocationURL: row.RevocationURL, UserinfoURL: row.UserinfoURL,
		JWKSURL: row.JWKSURL, IssInResponse: row.IssInResponse, ClientID: row.ClientID,
		AuthMethod: oauthapps.AuthMethod(row.AuthMethod), Scopes: row.Scopes, AuthParams: row.AuthParams,
		DataSources: row.DataSources, Paused: row.Paused, PausedNote: row.PausedNote, BrokenAt: moment(row.BrokenAt),
		BrokenCode: row.BrokenCode, Origin: row.Origin, SecretSet: moment(row.SecretSetAt), CreatedAt: moment(row.CreatedAt),
		UpdatedAt: moment(row.UpdatedAt), Rev: row.Rev, NextSecretSet: moment(row.NextSetAt), NextInUse: row.NextInUse,
		PrivateKeySet: moment(row.PrivateKeySetAt), AssertionAudience: oauthapps.AssertionAudience(row.AssertionAudience),
		PARURL: row.PARURL, PARRequired: row.PARRequired, IntrospectionURL: row.IntrospectionURL, Resources: row.Resources,
		DPoP: oauthapps.DPoP(row.DPoP), DPoPOffered: row.DPoPOffered, ExchangeAudiences: row.ExchangeAudiences,
		SubjectIssuers: row.SubjectIssuers, IdentityMatch: oauthapps.IdentityMatch(row.IdentityMatch), HandOut: oauthapps.HandOut(row.HandOut),
	}
	for _, sealed := range []struct {
		to    *secret.Text
		from  []byte
		field string
	}{
		{&a.ClientSecret, row.ClientSecret, "client_secret"}, {&a.ClientSecretNext, row.ClientSecretNext, "client_secret_next"},
		{&a.PrivateKey, row.PrivateKey, "private_key"},
	} {
		var err error
		if *sealed.to, err = s.db.keyring.Open(sealed.from, appPlace(a, sealed.field)); err != nil {
			return oauthapps.App{}, err
		}
	}
	return a, nil
}

// appNews says that the OAuth app with this id is not as it was.
func appNews(id string) notify.News { return notify.News{Topic: notify.OAuthAppChanged, AppID: id} }

var errNoApp = fault.New(fault.NotFound, "There is no such OAuth app.")

// ListApps implements oauthapps.Store.
func (s *OAuthApps) ListApps(ctx context.Context, domain string) ([]oauthapps.App, error) {
	var rows []appRow
	err := s.db.read(ctx, "list OAuth apps", func(ctx context.Context, c conn) error {
		rows = nil
		if domain == "" {
			return c.all(ctx, &rows, "SELECT "+appColumns+" FROM oauth_apps ORDER BY lower(name), name, id")
		}
		return c.all(ctx, &rows, "SELECT "+appColumns+" FROM oauth_apps WHERE domain = ? ORDER BY lower(name), name, id", domain)
	})
	if err != nil {
		return nil, err
	}
	apps := make([]oauthapps.App, len(rows))
	for i, row := range rows {
		if apps[i], err = s.openApp(row); err != nil {
			return nil, err
		}
	}
	return apps, nil
}

// GetApp implements oauthapps.Store.
func (s *OAuthApps) GetApp(ctx context.Context, ref string) (oauthapps.App, error) {
	var row appRow
	err := s.db.read(ctx, "read an OAuth app", func(ctx context.Context, c conn) error {
		if strings.HasPrefix(ref, string(id.OAuthApp)+"_") {
			return getApp(ctx, c, &row, "id", ref)
		}
		return getApp(ctx, c, &row, "slug", ref)
	})
	if err != nil {
		return oauthapps.App{}, err
	}
	return s.openApp(row)
}

// getApp reads the row whose column holds value, or returns errNoApp.
func getApp(ctx context.Context, c conn, row *appRow, column, value string) error {
	err := c.get(ctx, row, "SELECT "+appColumns+" FROM oauth_apps WHERE "+column+" = ?", value)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoApp
	}
	return err
}

// CreateApp implements oauthapps.Store.
func (s *OAuthApps) CreateApp(ctx context.Context, a oauthapps.App, e audit.Entry) (oauthapps.App, error) {
	now := s.db.now()
	if a.ID == "" {
		a.ID = id.New(id.OAuthApp, now)
	}
	if strings.HasPrefix(a.Slug, string(id.OAuthApp)+"_") || a.Slug == "" {
		return oauthapps.App{}, fault.New(fault.Invalid, "An OAuth app needs a slug that does not begin with %q: that is what ids look like.", id.OAuthApp+"_")
	}
	a.CreatedAt, a.UpdatedAt, a.Rev = orElse(a.CreatedAt, now), orElse(a.UpdatedAt, now), 1
	row, err := s.sealApp(a)
	if err != nil {
		return oauthapps.App{}, err
	}
	err = s.db.write(ctx, "store an OAuth app", func(ctx context.Context, c conn) error {
		_, err := c.execNamed(ctx, `INSERT INTO oauth_apps (`+appColumns+`) VALUES (:id, :domain, :name, :slug, :preset, :host,
			:issuer, :auth_url, :token_url, :revocation_url, :userinfo_url, :jwks_url, :iss_in_response, :client_id,
			:client_secret, :auth_method, :scopes, :auth_params, :data_sources, :paused, :paused_note, :broken_at,
			:broken_code, :origin, :secret_set_at, :created_at, :updated_at, :rev, :client_secret_next, :next_set_at, :next_in_use,
			:private_key, :private_key_set_at, :assertion_audience, :par_url, :par_required, :introspection_url, :resources, :dpop,
			:dpop_offered, :exchange_audiences, :subject_issuers, :hand_out, :identity_match)`, row)
		if err != nil {
			return err
		}
		if err := c.announce(ctx, appNews(row.ID)); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, row.ID)
	})
	switch s.db.dialect.classify(err) {
	case notUnique:
		return oauthapps.App{}, &fault.Error{Kind: fault.Conflict, Code: "slug_taken", Detail: "There is an OAuth app with the slug " + a.Slug + " already.", Owner: fault.Admin, Err: err}
	case notReferenced:
		return oauthapps.App{}, fault.Wrap(fault.NotFound, err, "There is no such domain.")
	}
	if err != nil {
		return oauthapps.App{}, err
	}
	return s.openApp(row)
}

// UpdateApp implements oauthapps.Store.
func (s *OAuthApps) UpdateApp(ctx context.Context, a oauthapps.App, e audit.Entry) (oauthapps.App, error) {
	return s.update(ctx, a, e, func(context.Context, conn) error { return nil })
}

// MoveApp implements oauthapps.Store.
func (s *OAuthApps) MoveApp(ctx context.Context, a oauthapps.App, e audit.Entry) (oauthapps.App, error) {
	return s.update(ctx, a, e, func(ctx context.Context, c conn) error {
		if _, err := c.exec(ctx, "DELETE FROM authorizations WHERE app_id = ?", a.ID); err != nil { // see Connect
			return err
		}
		var held bool
		err := c.get(ctx, &held, "SELECT EXISTS (SELECT 1 FROM grants WHERE app_id = ?)", a.ID)
		if err == nil && held {
			err = hasGrants(nil)
		}
		return err
	})
}

// hasGrants refuses what must not happen to an app while people are connected to it.
func hasGrants(cause error) error {
	return &fault.Error{Kind: fault.Conflict, Code: "app_has_grants", Detail: "People are still connected to this OAuth app. Revoke their connections first.", Owner: fault.Admin, Err: cause}
}

// update stores a, unless allowed refuses.
func (s *OAuthApps) update(ctx context.Context, a oauthapps.App, e audit.Entry, allowed func(context.Context, conn) error) (oauthapps.App, error) {
	var next appRow
	err := s.db.write(ctx, "change an OAuth app", func(ctx context.Context, c conn) error {
		var old appRow
		if err := getApp(ctx, c, &old, "id", a.ID); err != nil {
			return err
		}
		if err := allowed(ctx, c); err != nil {
			return err
		}
		// What never changes is taken from the row before sealing: the domain is part of the place.
		a := a
		a.Domain, a.Slug, a.CreatedAt, a.UpdatedAt = old.Domain, old.Slug, moment(old.CreatedAt), orElse(a.UpdatedAt, s.db.now())
		var err error
		if next, err = s.sealApp(a); err != nil {
			return err
		}
		n, err := c.execNamed(ctx, `UPDATE oauth_apps SET name = :name, preset = :preset, host = :host, issuer = :issuer,
			auth_url = :auth_url, token_url = :token_url, revocation_url = :revocation_url, userinfo_url = :userinfo_url,
			jwks_url = :jwks_url, iss_in_response = :iss_in_response, client_id = :client_id, client_secret = :client_secret,
			auth_method = :auth_method, scopes = :scopes, auth_params = :auth_params, data_sources = :data_sources,
			paused = :paused, paused_note = :paused_note, broken_at = :broken_at, broken_code = :broken_code, origin = :origin,
			secret_set_at = :secret_set_at, client_secret_next = :client_secret_next, next_set_at = :next_set_at, next_in_use = :next_in_use,
			private_key = :private_key, private_key_set_at = :private_key_set_at, assertion_audience = :assertion_audience, par_url = :par_url,
			par_required = :par_required, introspection_url = :introspection_url, resources = :resources, dpop = :dpop,
			dpop_offered = :dpop_offered, exchange_audiences = :exchange_audiences, subject_issuers = :subject_issuers,
			hand_out = :hand_out, identity_match = :identity_match, updated_at = :updated_at, rev = rev + 1 WHERE id = :id AND rev = :rev`, next)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.Conflict, "The OAuth app %s changed meanwhile. Load it again.", old.Slug)
		}
		next.Rev++
		if err := c.announce(ctx, appNews(next.ID)); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, next.ID)
	})
	if err != nil {
		return oauthapps.App{}, err
	}
	return s.openApp(next)
}

// DeleteApp implements oauthapps.Store. That no grants are left is the foreign key's to say: a grant that is stored at
// the same moment cannot slip through.
func (s *OAuthApps) DeleteApp(ctx context.Context, id string, e audit.Entry) error {
	err := s.db.write(ctx, "delete an OAuth app", func(ctx context.Context, c conn) error {
		n, err := c.exec(ctx, "DELETE FROM oauth_apps WHERE id = ?", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoApp
		}
		if err := c.announce(ctx, appNews(id)); err != nil {
			return err
		}
		return s.db.record(ctx, c, e, id)
	})
	if s.db.dialect.classify(err) == notReferenced {
		return hasGrants(err)
	}
	return err
}
