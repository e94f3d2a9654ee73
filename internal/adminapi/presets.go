package adminapi

import (
	"context"

	"github.com/behalf-project/behalf/oauthapps"
)

// Providers reads what providers publish about themselves. oauthapps.Client is one.
type Providers interface {
	Discover(ctx context.Context, issuer string) (oauthapps.Metadata, error)
}

type presetsOutput struct{ Body PresetList }

// presets lists what is known about providers. The URLs of a preset are for showing what will follow from a host: the
// ones that count are derived by oauthapps, which knows more ways to write one.
func (h *Handler) presets(context.Context, *struct{}) (*presetsOutput, error) {
	known := oauthapps.Presets()
	out := &presetsOutput{Body: PresetList{Items: make([]Preset, 0, len(known))}}
	for _, p := range known {
		item := Preset{
			Name: p.Name, Title: p.Title, HostLabel: p.HostLabel, HostExample: p.HostExample, IssuerExample: p.IssuerExample, DocsURL: p.DocsURL, ProviderSteps: p.Steps,
			Scopes: []PresetScope{}, AuthMethods: []string{}, Derived: map[string]string{}, Params: []PresetParam{}, Quirks: []PresetQuirk{},
		}
		for _, s := range p.Scopes {
			item.Scopes = append(item.Scopes, PresetScope{Name: s.Name, Title: s.Title, Default: s.Default})
		}
		for _, m := range p.AuthMethods {
			item.AuthMethods = append(item.AuthMethods, string(m))
		}
		if len(item.AuthMethods) > 0 {
			item.DefaultAuthMethod = item.AuthMethods[0]
		}
		for _, param := range p.Params {
			item.Params = append(item.Params, PresetParam(param))
		}
		for _, c := range p.Quirks.Citations {
			item.Quirks = append(item.Quirks, PresetQuirk{Text: c.Says, Source: c.URL})
		}
		for name, u := range map[string]string{
			"issuer": p.IssuerURL, "auth_url": p.AuthURL, "token_url": p.TokenURL, "revocation_url": p.RevocationURL, "userinfo_url": p.UserinfoURL,
		} {
			if u != "" {
				item.Derived[name] = u
			}
		}
		out.Body.Items = append(out.Body.Items, item)
	}
	return out, nil
}

type discoverInput struct{ Body DiscoverRequest }

type discoverOutput struct{ Body Discovered }

func (h *Handler) discover(ctx context.Context, in *discoverInput) (*discoverOutput, error) {
	m, err := h.cfg.Providers.Discover(ctx, in.Body.Issuer)
	if err != nil {
		return nil, err
	}
	return &discoverOutput{Body: Discovered{
		Issuer: m.Issuer, AuthURL: m.AuthURL, TokenURL: m.TokenURL, RevocationURL: m.RevocationURL, UserinfoURL: m.UserinfoURL,
		JWKSURL: m.JWKSURL, ScopesSupported: list(m.Scopes), TokenEndpointAuthMethodsSupported: list(m.AuthMethods),
		IntrospectionURL: m.IntrospectionURL, PARURL: m.PARURL, PARRequired: m.PARRequired, DPoPAlgorithms: list(m.DPoPAlgorithms),
	}}, nil
}

type redirectURIInput struct {
	Slug string `query:"slug" required:"true" minLength:"1" maxLength:"63"`
}

type redirectURIOutput struct{ Body RedirectURI }

func (h *Handler) redirectURI(_ context.Context, in *redirectURIInput) (*redirectURIOutput, error) {
	return &redirectURIOutput{Body: RedirectURI{
		RedirectURI: h.cfg.Apps.RedirectURI(in.Slug), JWKSURI: h.cfg.Apps.JWKSURI(in.Slug),
	}}, nil
}
