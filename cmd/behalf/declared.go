package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/behalf-project/behalf/config"
	"github.com/behalf-project/behalf/driverfactory"
	"github.com/behalf-project/behalf/internal/domains"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/users"
	"github.com/behalf-project/behalf/oauthapps"
)

// checkDeclared returns everything that is wrong with what the configuration declares, at its places: data sources,
// OAuth apps and people. It opens nothing.
func checkDeclared(cfg config.Config) error {
	var problems config.Errors
	_, err := declaredSources(cfg, driverfactory.New(driverfactory.Config{Warehouses: warehouses()}).Check)
	if errs, ok := errors.AsType[config.Errors](err); ok {
		problems = append(problems, errs...)
	}
	apps := map[string]config.Position{}
	for i, a := range cfg.OAuthApps {
		apps[fmt.Sprintf("/oauth_apps/%d", i)] = a.At
	}
	problems = append(problems, fieldProblems(cfg, oauthapps.Check(declaredApps(cfg)), func(pointer string) config.Position {
		for prefix, at := range apps {
			if strings.HasPrefix(pointer, prefix+"/") {
				return at
			}
		}
		return config.Position{}
	})...)
	people := map[string]config.Position{}
	for _, u := range cfg.Users {
		people["users."+u.Username+"."] = u.At
	}
	problems = append(problems, fieldProblems(cfg, users.Check(declaredPeople(cfg)), func(pointer string) config.Position {
		for prefix, at := range people {
			if strings.HasPrefix(pointer, prefix) {
				return at
			}
		}
		return config.Position{}
	})...)
	problems = append(problems, noticeProblems(cfg)...)
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// fieldProblems gives each wrong field of err the place where its object is declared.
func fieldProblems(cfg config.Config, err error, at func(pointer string) config.Position) config.Errors {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return nil
	}
	var out config.Errors
	for _, field := range f.Fields {
		place := field.Pointer
		if p := at(field.Pointer); cfg.Path != "" && p.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", cfg.Path, p.Line, p.Column)
		}
		out = append(out, config.Problem{Place: place, Message: field.Detail})
	}
	return out
}

// declaredSources turns the data sources of the configuration into values, and refuses those that check says are
// wrong, all at once.
func declaredSources(cfg config.Config, check func(driverfactory.Source) error) ([]driverfactory.Source, error) {
	var sources []driverfactory.Source
	var problems config.Errors
	for _, s := range cfg.DataSources {
		src := driverfactory.Source{
			Domain: domains.DefaultID, Name: s.Name, Rev: 1, Type: s.Type, Options: s.Options, OAuthApp: s.OAuthApp,
			CredentialsKey: s.CredentialsKey, Fallback: driverfactory.Fallback(s.Fallback), CacheScope: driverfactory.CacheScope(s.CacheScope),
			Limits: driverfactory.Limits(s.Limits), Liveness: driverfactory.Liveness(s.Liveness),
		}
		if a := s.ServiceAccount; a != nil {
			src.ServiceAccount = &driverfactory.ServiceAccount{
				Name: a.User, Token: a.Token, Kind: a.Kind, User: a.User, Password: a.Password, PrivateKey: a.PrivateKey,
			}
			if src.ServiceAccount.Name == "" {
				src.ServiceAccount.Name = "service account"
			}
			if a.OAuth != nil {
				oauth := driverfactory.ClientCredentials(*a.OAuth)
				src.ServiceAccount.OAuth = &oauth
			}
		}
		err := check(src)
		if err == nil {
			err = checkAccount(src.ServiceAccount)
		}
		if err != nil {
			problems = append(problems, sourceProblems(cfg, s, err)...)
		}
		sources = append(sources, src)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return sources, nil
}

// sourceProblems gives each wrong field of a source its place in the file.
func sourceProblems(cfg config.Config, s config.DataSource, err error) config.Errors {
	place := "data source " + s.Name
	if cfg.Path != "" && s.At.Line > 0 {
		place = fmt.Sprintf("%s:%d:%d", cfg.Path, s.At.Line, s.At.Column)
	}
	f, ok := errors.AsType[*fault.Error](err)
	if !ok || len(f.Fields) == 0 {
		return config.Errors{{Place: place, Message: fmt.Sprintf("data source %q: %v", s.Name, err)}}
	}
	var out config.Errors
	for _, field := range f.Fields {
		out = append(out, config.Problem{Place: place, Message: fmt.Sprintf("data source %q: %s: %s", s.Name, field.Pointer, field.Detail)})
	}
	return out
}

// declaredApps turns the OAuth apps of the configuration into values.
func declaredApps(cfg config.Config) []oauthapps.App {
	var apps []oauthapps.App
	for _, a := range cfg.OAuthApps {
		var issuers []oauthapps.SubjectIssuer
		for _, i := range a.TokenExchange.SubjectIssuers {
			issuers = append(issuers, oauthapps.SubjectIssuer{Issuer: i.Issuer, Audience: i.Audience})
		}
		apps = append(apps, oauthapps.App{
			Name: a.Name, Slug: a.Slug, Preset: a.Preset, Host: a.Host, Issuer: a.Issuer,
			AuthURL: a.AuthURL, TokenURL: a.TokenURL, RevocationURL: a.RevocationURL, UserinfoURL: a.UserinfoURL, JWKSURL: a.JWKSURL,
			ClientID: a.ClientID, ClientSecret: a.ClientSecret, AuthMethod: oauthapps.AuthMethod(a.AuthMethod),
			Scopes: a.Scopes, AuthParams: a.AuthParams, DataSources: a.DataSources,
			ClientSecretNext: a.ClientSecretNext, PrivateKey: a.PrivateKey, AssertionAudience: oauthapps.AssertionAudience(a.AssertionAudience),
			PARURL: a.PARURL, PARRequired: a.PARRequired, IntrospectionURL: a.IntrospectionURL, Resources: a.Resource,
			DPoP: oauthapps.DPoP(a.DPoP), ExchangeAudiences: a.TokenExchange.Audiences, SubjectIssuers: issuers,
			IdentityMatch: oauthapps.IdentityMatch(a.IdentityMatch), HandOut: oauthapps.HandOut(a.HandOut),
		})
	}
	return apps
}

// declaredPeople turns the people of the configuration into values.
func declaredPeople(cfg config.Config) []users.Declared {
	var people []users.Declared
	for _, u := range cfg.Users {
		d := users.Declared{Username: u.Username, Email: u.Email, Password: u.Password}
		for _, r := range u.Roles {
			d.Roles = append(d.Roles, users.Role(r))
		}
		people = append(people, d)
	}
	return people
}
