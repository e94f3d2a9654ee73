package hooks_test

import (
	"testing"
	"time"

	"github.com/behalf-project/behalf/internal/hooks"
	"github.com/behalf-project/behalf/internal/jwtauth"
	"github.com/behalf-project/behalf/internal/query"
	"github.com/behalf-project/behalf/internal/secret"
)

// What the hooks of one request cost.
func BenchmarkHooks(b *testing.B) {
	key := secret.New("0123456789abcdef0123456789abcdef")
	token, err := jwtauth.Sign(key, map[string]any{"sub": "s", "tenant": 7}, time.Now(), time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	h, err := try(`const jwt = require('jsonwebtoken'); module.exports = {
		checkAuth: async (req, auth) => { req.securityContext = jwt.verify(auth, process.env.KEY) },
		contextToOrchestratorId: ({securityContext}) => 'T' + securityContext.tenant,
		queryRewrite: (q, {securityContext}) => { q.filters.push({member: 'a.t', operator: 'equals', values: [securityContext.tenant]}); return q },
	}`, func(c *hooks.Config) { c.Env = map[string]string{"KEY": key.Reveal()} })
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	q, err := query.Query{Measures: []string{"a.n"}, Dimensions: []string{"a.d"}}.Normalize(normal)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("checkAuth", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.Verify(ctx, hooks.Request{Token: token.Reveal()}, verified); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("contextToOrchestratorId", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.OrchestratorID(ctx, alice(), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("queryRewrite", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.Rewrite(ctx, alice(), q, normal); err != nil {
				b.Fatal(err)
			}
		}
	})
}
