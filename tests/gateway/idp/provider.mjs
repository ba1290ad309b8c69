// An OpenID provider on 127.0.0.1 for the tests: `node provider.mjs`, prints its issuer.
//
// People log in with any password. What is in their tokens is shaped like Okta's, Entra's or
// nobody's own, by their name; POST /test/rotate signs with a new key from then on, and
// POST /test/disable?name= refuses somebody everything that is asked afterwards.
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import { Provider } from 'oidc-provider';

const AUDIENCE = 'nbgov-gateway';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const guids = (count) =>
  Array.from({ length: count }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`);

const PEOPLE = {
  ada: { groups: ['analysts'] },
  grace: { groups: ['stewards', 'analysts'] },
  olga: { groups: ['platform'] },
  'okta.ada': { uid: '00u1', groups: ['Everyone', 'analysts'] },
  'entra.ada': { tid: 't1', oid: 'o1', groups: guids(150), roles: ['analyst'] },
  'entra.many': { tid: 't1', oid: 'o2', groups: guids(260) },
  'entra.overage': {
    tid: 't1',
    oid: 'o3',
    _claim_names: { groups: 'src1' },
    _claim_sources: { src1: { endpoint: 'https://graph.test/getMemberObjects' } },
  },
};
const disabled = new Set();

function key(kid) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' };
}
const keys = [key('k1')];

function provider(issuer) {
  const made = new Provider(issuer, {
    clients: [
      {
        client_id: 'nbgov',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/callback'],
        grant_types: ['authorization_code', 'refresh_token', DEVICE],
        response_types: ['code'],
      },
      {
        client_id: 'nbgov-pages',
        token_endpoint_auth_method: 'none',
        application_type: 'native',
        redirect_uris: [process.env.PAGES_CALLBACK ?? 'http://127.0.0.1/pages/callback'],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
      {
        client_id: 'pages-with-secret',
        client_secret: 'a-secret-of-the-pages',
        token_endpoint_auth_method: 'client_secret_post',
        application_type: 'native',
        redirect_uris: ['http://127.0.0.1/pages/callback'],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
      {
        client_id: 'job',
        client_secret: 'a-secret-of-the-tests',
        redirect_uris: [],
        response_types: [],
        grant_types: ['client_credentials'],
      },
    ],
    jwks: { keys },
    cookies: { keys: ['of the tests'] },
    claims: { openid: ['sub'], profile: ['preferred_username'] },
    findAccount: async (_, id) =>
      disabled.has(id)
        ? undefined
        : { accountId: id, claims: async () => ({ sub: id, preferred_username: id }) },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:nbgov:gateway',
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'govsql',
          audience: AUDIENCE,
          accessTokenTTL: Number(process.env.TOKEN_S ?? 600),
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    extraTokenClaims: async (_, token) =>
      token.accountId
        ? { preferred_username: token.accountId, ...(PEOPLE[token.accountId] ?? {}) }
        : { preferred_username: 'job', groups: ['jobs'] },
    rotateRefreshToken: true,
    issueRefreshToken: async (_, client, code) =>
      client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
    ttl: { AccessToken: 600, DeviceCode: 120, Grant: 3600, IdToken: 600, Interaction: 600, Session: 3600 },
  });
  made.on('server_error', (_, error) => console.error(error));
  return made;
}

let current;
const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1');
  if (url.pathname === '/test/rotate') {
    keys.unshift(key(`k${keys.length + 1}`));
    current = provider(issuer());
    response.end(keys[0].kid);
  } else if (url.pathname === '/test/disable') {
    disabled.add(url.searchParams.get('name'));
    response.end();
  } else {
    current.callback()(request, response);
  }
});
const issuer = () => `http://127.0.0.1:${server.address().port}`;
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  current = provider(issuer());
  console.log(issuer());
});
