package idp

import (
	"crypto/rand"
	"time"

	"github.com/behalf-project/behalf/internal/secret"
)

// IssueGrant returns the tokens of a grant that the person username gave a client, without a sign-in: for tests that
// need many.
func (p *Provider) IssueGrant(clientID, username string, scopes []string, life time.Duration) (access, refresh secret.Text) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	g := &grant{client: clientID, person: username, scopes: scopes, offline: true, signedIn: now}
	access, refresh = secret.New(rand.Text()+rand.Text()), secret.New("rt_"+rand.Text()+rand.Text())
	p.access[hash(access.Reveal())] = &accessToken{grant: g, scopes: scopes, issued: now, expires: now.Add(life)}
	p.refresh[hash(refresh.Reveal())] = &refreshToken{grant: g}
	p.seen("access_token", access.Reveal())
	p.seen("refresh_token", refresh.Reveal())
	return access, refresh
}
