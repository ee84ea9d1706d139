// An OpenID provider whose only person always says yes. Clients, scopes and
// claims come as JSON in the environment; its address is the first line that it
// writes. It ends when its input does.
import http from 'node:http'
import { Provider } from 'oidc-provider'

const said = JSON.parse(process.env.UPSTREAM)
const server = http.createServer()
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const issuer = `http://localhost:${server.address().port}`

const provider = new Provider(issuer, {
  clients: said.clients,
  scopes: said.scopes,
  claims: said.claims,
  acrValues: said.acr ?? [],
  conformIdTokenClaims: true,
  responseTypes: ['code'],
  pkce: { methods: ['S256'], required: () => said.pkce ?? true },
  cookies: { keys: ['only for tests'] },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 300, Grant: 600, Interaction: 600, Session: 600 },
  features: {
    devInteractions: { enabled: false },
    claimsParameter: { enabled: true },
    encryption: { enabled: true },
    jwtUserinfo: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    requestObjects: { request: true, requestUri: false, mode: 'strict' },
    resourceIndicators: { enabled: false },
    userinfo: { enabled: true },
  },
  enabledJWA: {
    idTokenEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256'],
    idTokenEncryptionEncValues: ['A128CBC-HS256'],
    userinfoEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256'],
    userinfoEncryptionEncValues: ['A128CBC-HS256'],
    requestObjectEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256'],
    requestObjectEncryptionEncValues: ['A128CBC-HS256'],
  },
  jwks: said.jwks,
  interactions: { url: (_, i) => `/interaction/${i.uid}` },
  findAccount: (_, sub) => ({ accountId: sub, claims: async () => ({ sub, ...said.person }) }),
  renderError: (ctx, out) => { ctx.type = 'text'; ctx.body = JSON.stringify(out) },
})

const callback = provider.callback()
server.on('request', async (req, res) => {
  if (!req.url.startsWith('/interaction/')) return callback(req, res)
  try {
    const { prompt, params, session } = await provider.interactionDetails(req, res)
    if (said.refuses) return await provider.interactionFinished(req, res, { error: 'access_denied', error_description: said.refuses })
    if (prompt.name === 'login') return await provider.interactionFinished(req, res, { login: { accountId: 'person-1' } })
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id })
    if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '))
    if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims)
    await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true })
  } catch (err) {
    res.statusCode = 500
    res.end(String(err))
  }
})
provider.on('server_error', (_, err) => console.error(err))
for (const what of ['grant.error', 'authorization.error', 'pushed_authorization_request.error', 'userinfo.error']) {
  provider.on(what, (_, err) => console.error(what, err.error, err.error_detail ?? err.error_description))
}
console.log(issuer)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
