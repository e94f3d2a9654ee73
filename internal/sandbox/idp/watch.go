package idp

import "github.com/behalf-project/behalf/internal/secret"

// Watch calls see with every secret that passes through the provider from now on, and its name in the standards:
// access_token, refresh_token, id_token, code, state, code_verifier and
// client_assertion. It is for tests that search what a client
// writes down for any of them. see must not call the provider.
func (p *Provider) Watch(see func(kind string, value secret.Text)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = see
}

// seen tells who watches; p.mu is held.
func (p *Provider) seen(kind, value string) {
	if p.watch != nil && value != "" {
		p.watch(kind, secret.New(value))
	}
}
