// An OpenID provider that is not ours: the certified oidc-provider, with one client and one person, who signs in by
// coming. Its configuration is JSON in the environment; it prints its port when it listens, and ends with its standard
// input. See certified.go.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import Provider from 'oidc-provider';

process.stdin.resume().on('end', () => process.exit(0));
const config = JSON.parse(process.env.PROVIDER);
let accessTokenLife = 3600;
const calls = { refreshes: 0, refused: {} };

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = config.issuer || `http://127.0.0.1:${server.address().port}`;

// As strict as it can be set: requests must be pushed, and proofs of possession need a nonce.
const strict = {
  pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
  dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
};

const provider = new Provider(issuer, {
  clients: [{ grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], ...config.client }],
  clientAuthMethods: [config.client.token_endpoint_auth_method],
  jwks: { keys: [config.key] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  scopes: ['openid', 'offline_access', 'sql'],
  claims: { openid: ['sub'], email: ['email'] },
  pkce: { required: () => true },
  rotateRefreshToken: config.rotate,
  ttl: { AccessToken: () => accessTokenLife, RefreshToken: 86400, Grant: 86400, IdToken: 3600, Session: 86400, Interaction: 600 },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    ...(config.strict ? strict : {}),
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, email: `${id}@example.com` }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
});

// Calls are counted where they end, by the provider itself. A call whose answer the network then loses is one.
const count = (ctx, error) => {
  if (ctx.oidc?.params?.grant_type !== 'refresh_token') return;
  calls.refreshes++;
  if (error) calls.refused[error.error] = (calls.refused[error.error] ?? 0) + 1;
};
provider.on('grant.success', (ctx) => count(ctx));
provider.on('grant.error', count);
provider.on('server_error', (ctx, error) => console.error(error));

// interact answers the page of a sign-in or a consent: yes.
async function interact(req, res) {
  const { prompt, params } = await provider.interactionDetails(req, res);
  const result = {};
  if (prompt.name === 'login') {
    result.login = { accountId: config.subject };
  } else {
    const grant = new provider.Grant({ accountId: config.subject, clientId: params.client_id });
    grant.addOIDCScope(params.scope);
    result.consent = { grantId: await grant.save() };
  }
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true });
}

const answer = provider.callback();
server.on('request', (req, res) => {
  const [, first, value] = new URL(req.url, issuer).pathname.split('/');
  if (first === 'interaction') {
    interact(req, res).catch((error) => res.writeHead(500).end(String(error)));
  } else if (first === '_calls') {
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(calls));
  } else if (first === '_access-token-life') {
    accessTokenLife = Number(value);
    res.writeHead(204).end();
  } else {
    answer(req, res);
  }
});
console.log(`listening ${server.address().port}`);
