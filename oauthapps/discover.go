package oauthapps

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/behalf-project/behalf/internal/displayname"
	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/outbound"
)

// Metadata is what an authorization server publishes about itself (RFC 8414 §2, OpenID Connect Discovery §3).
type Metadata struct {
	Issuer        string
	AuthURL       string
	TokenURL      string
	RevocationURL string
	UserinfoURL   string
	JWKSURL       string
	Scopes        []string // scopes_supported
	AuthMethods   []string // token_endpoint_auth_methods_supported
	IssInResponse bool     // authorization_response_iss_parameter_supported (RFC 9207)

	IntrospectionURL string   // introspection_endpoint
	PARURL           string   // pushed_authorization_request_endpoint (RFC 9126 §5)
	PARRequired      bool     // require_pushed_authorization_requests
	DPoPAlgorithms   []string // dpop_signing_alg_values_supported (RFC 9449 §5.1)
}

// Discover reads the metadata of issuer from its well-known places. The metadata must name the very same issuer, byte
// for byte (RFC 8414 §3.3), or anybody's document could stand in for it. What is wrong is fault.Invalid at /issuer.
func (c *Client) Discover(ctx context.Context, issuer string) (Metadata, error) {
	if err := CheckURL(issuer); err != nil {
		return Metadata{}, wrongIssuer(nil, "issuer "+err.Error()+".")
	}
	u, err := url.Parse(issuer)
	if err != nil || u.RawQuery != "" || u.ForceQuery {
		return Metadata{}, wrongIssuer(err, "issuer must not have a query (RFC 8414 §2).")
	}
	ctx, cancel := context.WithTimeout(ctx, min(c.cfg.Timeout, 10*time.Second))
	defer cancel()
	var last error
	for _, place := range wellKnown(u) {
		m, err := c.metadata(ctx, place, issuer)
		if err == nil {
			return m, nil
		}
		if errors.Is(err, fault.Invalid) {
			return Metadata{}, err
		}
		// The most telling trouble is the one that is not a plain 404.
		if f, ok := errors.AsType[*Failure](err); last == nil || !ok || f.Status != 404 {
			last = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return Metadata{}, wrongIssuer(last, "The issuer's metadata could not be read from /.well-known/openid-configuration or /.well-known/oauth-authorization-server: "+reason(last)+".")
}

// wellKnown are the places of an issuer's metadata: OpenID Connect appends to the path (Discovery §4), RFC 8414 §3.1
// inserts before it, and some servers append what the RFC inserts.
func wellKnown(u *url.URL) []string {
	origin, path := u.Scheme+"://"+u.Host, strings.TrimRight(u.EscapedPath(), "/")
	places := []string{
		origin + path + "/.well-known/openid-configuration",
		origin + "/.well-known/oauth-authorization-server" + path,
	}
	if path != "" {
		places = append(places, origin+path+"/.well-known/oauth-authorization-server")
	}
	return places
}

// metadata reads one document and checks it.
func (c *Client) metadata(ctx context.Context, place, issuer string) (Metadata, error) {
	var doc struct {
		Issuer        string   `json:"issuer"`
		AuthURL       string   `json:"authorization_endpoint"`
		TokenURL      string   `json:"token_endpoint"`
		RevocationURL string   `json:"revocation_endpoint"`
		UserinfoURL   string   `json:"userinfo_endpoint"`
		JWKSURL       string   `json:"jwks_uri"`
		Scopes        []string `json:"scopes_supported"`
		AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
		IssInResponse bool     `json:"authorization_response_iss_parameter_supported"`

		IntrospectionURL string   `json:"introspection_endpoint"`
		PARURL           string   `json:"pushed_authorization_request_endpoint"`
		PARRequired      bool     `json:"require_pushed_authorization_requests"`
		DPoPAlgorithms   []string `json:"dpop_signing_alg_values_supported"`
	}
	if err := c.getJSON(ctx, place, nil, &doc); err != nil {
		return Metadata{}, err
	}
	if doc.Issuer != issuer {
		return Metadata{}, wrongIssuer(nil, "The metadata names the issuer \""+displayname.Clean(doc.Issuer, maxName)+"\", which is not exactly \""+clip(issuer)+"\". Enter the issuer as the server writes it.")
	}
	for _, u := range []struct{ name, value string }{
		{"authorization_endpoint", doc.AuthURL}, {"token_endpoint", doc.TokenURL}, {"revocation_endpoint", doc.RevocationURL},
		{"userinfo_endpoint", doc.UserinfoURL}, {"jwks_uri", doc.JWKSURL},
		{"introspection_endpoint", doc.IntrospectionURL}, {"pushed_authorization_request_endpoint", doc.PARURL},
	} {
		if u.value == "" {
			continue
		}
		if err := CheckURL(u.value); err != nil {
			return Metadata{}, wrongIssuer(nil, "The issuer's metadata is not usable: "+u.name+" "+err.Error()+".")
		}
	}
	return Metadata{
		Issuer: doc.Issuer, AuthURL: doc.AuthURL, TokenURL: doc.TokenURL, RevocationURL: doc.RevocationURL,
		UserinfoURL: doc.UserinfoURL, JWKSURL: doc.JWKSURL, Scopes: doc.Scopes, AuthMethods: doc.AuthMethods,
		IssInResponse: doc.IssInResponse, IntrospectionURL: doc.IntrospectionURL, PARURL: doc.PARURL, PARRequired: doc.PARRequired,
		DPoPAlgorithms: doc.DPoPAlgorithms,
	}, nil
}

func wrongIssuer(cause error, detail string) error {
	e := fault.Wrap(fault.Invalid, cause, "%s", detail)
	e.Code, e.Owner = "discovery_failed", fault.Admin
	e.Fields = []fault.Field{{Pointer: "/issuer", Code: e.Code, Detail: detail}}
	return e
}

// reason says in a few words why a call failed.
func reason(err error) string {
	f, ok := errors.AsType[*Failure](err)
	switch {
	case !ok:
		return "it failed"
	case f.Status != 0 && f.Err != nil:
		return f.Err.Error()
	case f.Status != 0:
		return "it answered " + statusText(f.Status)
	case errors.Is(err, outbound.ErrAddress):
		return f.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer in time"
	}
	return "it could not be reached"
}
