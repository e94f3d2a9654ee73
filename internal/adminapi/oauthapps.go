package adminapi

import (
	"context"
	"maps"
	"time"

	"github.com/behalf-project/behalf/internal/fault"
	"github.com/behalf-project/behalf/internal/secret"
	"github.com/behalf-project/behalf/oauthapps"
)

// OAuthApps keeps OAuth apps, checks what is put into them, and refuses to change those of the configuration file.
// actor is the id of the person who asks, for the audit. oauthapps.Registry is one.
type OAuthApps interface {
	List(ctx context.Context, domain string) ([]oauthapps.App, error)
	Get(ctx context.Context, idOrSlug string) (oauthapps.App, error)
	Create(ctx context.Context, a oauthapps.App, actor string) (oauthapps.App, error)
	Update(ctx context.Context, a oauthapps.App, actor string) (oauthapps.App, error)
	Pause(ctx context.Context, idOrSlug, note, actor string) (oauthapps.App, error)
	Resume(ctx context.Context, idOrSlug, actor string) (oauthapps.App, error)
	Delete(ctx context.Context, idOrSlug, actor string) error
	Test(ctx context.Context, a oauthapps.App, actor string) (oauthapps.Report, error)
	RedirectURI(slug string) string
	JWKSURI(slug string) string
}

type appOutput struct{ Body OAuthApp }

// AppInput names one OAuth app. It is exported because huma reads the parameters of an embedded struct only then.
type AppInput struct {
	ID string `path:"id" doc:"The id or the slug." maxLength:"100"`
}

type listAppsOutput struct{ Body OAuthAppList }

func (h *Handler) listApps(ctx context.Context, _ *struct{}) (*listAppsOutput, error) {
	apps, err := h.cfg.Apps.List(ctx, h.cfg.Domain)
	if err != nil {
		return nil, err
	}
	out := &listAppsOutput{Body: OAuthAppList{Items: make([]OAuthApp, 0, len(apps))}}
	for _, a := range apps {
		item, err := h.app(ctx, a)
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	return out, nil
}

func (h *Handler) getApp(ctx context.Context, in *AppInput) (*appOutput, error) {
	a, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return h.appAnswer(ctx, a)
}

type createAppInput struct{ Body NewOAuthApp }

func (h *Handler) createApp(ctx context.Context, in *createAppInput) (*appOutput, error) {
	a, err := h.newApp(in.Body)
	if err != nil {
		return nil, err
	}
	if a, err = h.cfg.Apps.Create(ctx, a, from(ctx).user.ID); err != nil {
		return nil, err
	}
	return h.appAnswer(ctx, a)
}

// newApp is the app that b describes.
func (h *Handler) newApp(b NewOAuthApp) (oauthapps.App, error) {
	key, err := privateKey(&b.PrivateKey, b.GeneratePrivateKey)
	if err != nil {
		return oauthapps.App{}, err
	}
	a := oauthapps.App{
		Domain: h.cfg.Domain, Name: b.Name, Slug: b.Slug, Preset: b.Preset, Host: b.Host, Issuer: b.Issuer,
		AuthURL: b.AuthURL, TokenURL: b.TokenURL, RevocationURL: b.RevocationURL, UserinfoURL: b.UserinfoURL, JWKSURL: b.JWKSURL,
		ClientID: b.ClientID, ClientSecret: secret.New(b.ClientSecret), AuthMethod: oauthapps.AuthMethod(b.TokenEndpointAuthMethod),
		Scopes: b.Scopes, AuthParams: b.AuthParams, DataSources: b.DataSources,
		ClientSecretNext: secret.New(b.ClientSecretNext), PrivateKey: key, AssertionAudience: oauthapps.AssertionAudience(b.AssertionAudience),
		PARURL: b.PARURL, PARRequired: b.PARRequired, IntrospectionURL: b.IntrospectionURL, Resources: b.Resource, DPoP: oauthapps.DPoP(b.DPoP),
		IdentityMatch: oauthapps.IdentityMatch(b.IdentityMatch), HandOut: oauthapps.HandOut(b.HandOut),
	}
	b.TokenExchange.apply(&a)
	return a, nil
}

type testOutput struct{ Body TestReport }

type testAppInput struct {
	AppInput
	Body *Nothing `required:"false"`
}

// testApp tries a registration with the credentials that are saved.
func (h *Handler) testApp(ctx context.Context, in *testAppInput) (*testOutput, error) {
	a, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return h.test(ctx, a)
}

// testNewApp tries a registration that is not saved yet.
func (h *Handler) testNewApp(ctx context.Context, in *createAppInput) (*testOutput, error) {
	a, err := h.newApp(in.Body)
	if err != nil {
		return nil, err
	}
	return h.test(ctx, a)
}

func (h *Handler) test(ctx context.Context, a oauthapps.App) (*testOutput, error) {
	report, err := h.cfg.Apps.Test(ctx, a, from(ctx).user.ID)
	if err != nil {
		return nil, err
	}
	out := &testOutput{Body: TestReport{OK: report.OK(), Stages: make([]TestStage, 0, len(report.Stages))}}
	for _, s := range report.Stages {
		out.Body.Stages = append(out.Body.Stages, TestStage{
			Name: s.Name, State: string(s.State), Detail: s.Detail, Fix: s.Fix, DurationMS: s.Took.Milliseconds(),
		})
	}
	return out, nil
}

type updateAppInput struct {
	AppInput
	Body OAuthAppPatch
}

// updateApp applies a patch. Its rev is the one the person saw: with another, somebody else changed the app since.
func (h *Handler) updateApp(ctx context.Context, in *updateAppInput) (*appOutput, error) {
	a, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	p := in.Body
	if p.Rev != a.Rev {
		// Compared here too: what is below is laid over a, which may be a moment older than the app with that rev.
		return nil, &fault.Error{Kind: fault.Conflict, Owner: fault.Admin, Detail: a.Name + " was changed meanwhile. Load it again and repeat your change."}
	}
	for _, f := range []struct{ to, from *string }{
		{&a.Name, p.Name}, {&a.Preset, p.Preset}, {&a.Host, p.Host}, {&a.Issuer, p.Issuer}, {&a.AuthURL, p.AuthURL},
		{&a.TokenURL, p.TokenURL}, {&a.RevocationURL, p.RevocationURL}, {&a.UserinfoURL, p.UserinfoURL}, {&a.JWKSURL, p.JWKSURL},
		{&a.ClientID, p.ClientID}, {(*string)(&a.AuthMethod), p.TokenEndpointAuthMethod}, {&a.PARURL, p.PARURL},
		{&a.IntrospectionURL, p.IntrospectionURL}, {(*string)(&a.AssertionAudience), p.AssertionAudience}, {(*string)(&a.DPoP), p.DPoP},
		{(*string)(&a.IdentityMatch), p.IdentityMatch}, {(*string)(&a.HandOut), p.HandOut},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if p.ClientSecret != nil {
		a.ClientSecret, a.SecretSet = secret.New(*p.ClientSecret), time.Time{} // entered, though it may be the same
	}
	if p.ClientSecretNext != nil {
		// An empty one ends the rollover. What the provider accepts stays; it was entered when it became the next one.
		if *p.ClientSecretNext == "" && a.NextInUse && p.ClientSecret == nil {
			a.ClientSecret, a.SecretSet = a.ClientSecretNext, a.NextSecretSet
		}
		a.ClientSecretNext, a.NextSecretSet = secret.New(*p.ClientSecretNext), time.Time{}
	}
	if p.PrivateKey != nil || p.GeneratePrivateKey != "" {
		if a.PrivateKey, err = privateKey(p.PrivateKey, p.GeneratePrivateKey); err != nil {
			return nil, err
		}
		a.PrivateKeySet = time.Time{}
	}
	if p.PARRequired != nil {
		a.PARRequired = *p.PARRequired
	}
	if p.Resource != nil {
		a.Resources = p.Resource
	}
	p.TokenExchange.apply(&a)
	if p.Scopes != nil {
		a.Scopes = p.Scopes
	}
	if p.AuthParams != nil {
		a.AuthParams = p.AuthParams
	}
	if p.DataSources != nil {
		a.DataSources = p.DataSources
	}
	if a, err = h.cfg.Apps.Update(ctx, a, from(ctx).user.ID); err != nil {
		return nil, err
	}
	return h.appAnswer(ctx, a)
}

// apply puts what c says into a. A nil one says nothing.
func (c *TokenExchangeChange) apply(a *oauthapps.App) {
	if c == nil {
		return
	}
	if c.Audiences != nil {
		a.ExchangeAudiences = c.Audiences
	}
	if c.SubjectIssuers != nil {
		a.SubjectIssuers = make([]oauthapps.SubjectIssuer, 0, len(c.SubjectIssuers))
		for _, i := range c.SubjectIssuers {
			a.SubjectIssuers = append(a.SubjectIssuers, oauthapps.SubjectIssuer(i))
		}
	}
}

// privateKey returns the private key that a request brings, or a new one for the algorithm it names.
func privateKey(given *string, algorithm string) (secret.Text, error) {
	switch {
	case algorithm == "" && given == nil:
		return secret.Text{}, nil
	case algorithm == "":
		return secret.New(*given), nil
	case given != nil && *given != "":
		detail := "generate_private_key makes a key, and private_key brings one: give one of the two."
		return secret.Text{}, &fault.Error{Kind: fault.Invalid, Owner: fault.Admin, Detail: detail,
			Fields: []fault.Field{{Pointer: "/generate_private_key", Code: "invalid", Detail: detail}}}
	}
	return oauthapps.NewPrivateKey(algorithm)
}

type deleteAppInput struct {
	AppInput
	Revoke bool `query:"revoke" doc:"Revoke the grants that people gave to it first."`
}

// deleteApp deletes an app and, if asked for, the grants that people gave to it.
func (h *Handler) deleteApp(ctx context.Context, in *deleteAppInput) (*struct{}, error) {
	a, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	actor := from(ctx).user.ID
	if in.Revoke && a.Origin != oauthapps.FromFile { // Delete refuses that one, and then nobody must have lost anything
		if _, err := h.cfg.Grants.RevokeApp(ctx, a, actor); err != nil {
			return nil, err
		}
	}
	return nil, h.cfg.Apps.Delete(ctx, a.ID, actor)
}

type pauseAppInput struct {
	AppInput
	Body *PauseRequest `required:"false"`
}

func (h *Handler) pauseApp(ctx context.Context, in *pauseAppInput) (*appOutput, error) {
	a, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	note := ""
	if in.Body != nil {
		note = in.Body.Note
	}
	if a, err = h.cfg.Apps.Pause(ctx, a.ID, note, from(ctx).user.ID); err != nil {
		return nil, err
	}
	return h.appAnswer(ctx, a)
}

type resumeAppInput struct {
	AppInput
	Body *Nothing `required:"false"`
}

func (h *Handler) resumeApp(ctx context.Context, in *resumeAppInput) (*appOutput, error) {
	a, err := h.find(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if a, err = h.cfg.Apps.Resume(ctx, a.ID, from(ctx).user.ID); err != nil {
		return nil, err
	}
	return h.appAnswer(ctx, a)
}

// find returns an app of this workspace.
func (h *Handler) find(ctx context.Context, idOrSlug string) (oauthapps.App, error) {
	a, err := h.cfg.Apps.Get(ctx, idOrSlug)
	if err == nil && a.Domain != h.cfg.Domain {
		err = fault.New(fault.NotFound, "There is no OAuth app %q.", idOrSlug)
	}
	return a, err
}

func (h *Handler) appAnswer(ctx context.Context, a oauthapps.App) (*appOutput, error) {
	body, err := h.app(ctx, a)
	if err != nil {
		return nil, err
	}
	return &appOutput{Body: body}, nil
}

// app is what admins see of a.
func (h *Handler) app(ctx context.Context, a oauthapps.App) (OAuthApp, error) {
	counts, err := h.cfg.Grants.CountByStatus(ctx, a)
	if err != nil {
		return OAuthApp{}, err
	}
	people := make(map[string]int, len(counts))
	for status, n := range counts {
		people[string(status)] = n
	}
	out := OAuthApp{
		ID: a.ID, Name: a.Name, Slug: a.Slug, Domain: a.Domain, Preset: a.Preset, Host: a.Host, Issuer: a.Issuer,
		AuthURL: a.AuthURL, TokenURL: a.TokenURL, RevocationURL: a.RevocationURL, UserinfoURL: a.UserinfoURL, JWKSURL: a.JWKSURL,
		ClientID: a.ClientID, ClientSecret: secretState(a.ClientSecret, a.SecretSet), TokenEndpointAuthMethod: string(a.AuthMethod),
		Scopes: list(a.Scopes), AuthParams: maps.Clone(a.AuthParams), DataSources: list(a.DataSources),
		IdentityMatch: string(a.IdentityMatch), RedirectURI: h.cfg.Apps.RedirectURI(a.Slug), Paused: a.Paused, PausedNote: a.PausedNote, Origin: a.Origin, Rev: a.Rev,
		ClientSecretNext: secretState(a.ClientSecretNext, a.NextSecretSet), ClientSecretInUse: "client_secret",
		AssertionAudience: string(a.AssertionAudience), PARURL: a.PARURL, PARRequired: a.PARRequired, IntrospectionURL: a.IntrospectionURL,
		Resource: list(a.Resources), DPoP: "false", DPoPOffered: a.DPoPOffered, HandOut: string(a.HandOut),
		TokenExchange: TokenExchange{Audiences: list(a.ExchangeAudiences), SubjectIssuers: make([]SubjectIssuer, 0, len(a.SubjectIssuers))},
		People:        people, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
	}
	for _, i := range a.SubjectIssuers {
		out.TokenExchange.SubjectIssuers = append(out.TokenExchange.SubjectIssuers, SubjectIssuer(i))
	}
	if a.NextInUse {
		out.ClientSecretInUse = "client_secret_next"
	}
	if a.DPoP != oauthapps.DPoPOff {
		out.DPoP = string(a.DPoP)
	}
	if !a.PrivateKey.Empty() {
		out.PrivateKey = KeyState{Set: true, SetAt: a.PrivateKeySet, PublicJWK: a.PublicKey(), JWKSURI: h.cfg.Apps.JWKSURI(a.Slug)}
	}
	if out.AuthParams == nil {
		out.AuthParams = map[string]string{}
	}
	if !a.BrokenAt.IsZero() {
		out.Broken = &Broken{Code: a.BrokenCode, Since: a.BrokenAt}
	}
	return out, nil
}

// shownEnd is how long a secret must be before its last four characters say nothing useful to a guesser.
const shownEnd = 12

func secretState(value secret.Text, set time.Time) SecretState {
	if value.Empty() {
		return SecretState{}
	}
	s := SecretState{Set: true, SetAt: set}
	if v := []rune(value.Reveal()); len(v) >= shownEnd {
		s.EndsIn = string(v[len(v)-4:])
	}
	return s
}
