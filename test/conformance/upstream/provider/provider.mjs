// An OpenID provider whose only person always says yes. Clients, scopes, claims
// and what else a dialect needs come as JSON in the environment; its address is
// the first line that it writes, and what each login was asked for a line of
// JSON. It ends when its input does.
import http from 'node:http'
import { Provider } from 'oidc-provider'

const said = JSON.parse(process.env.UPSTREAM)
const server = http.createServer()
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const { port } = server.address()
const issuer = `http://localhost:${port}${said.realm ?? ''}`
const tinfo = said.tinfo && { issuer: `http://127.0.0.1:${port}${said.tinfo.issuer}`, at: said.tinfo.at }

const objects = new Map() // request objects, by state
const contents = said.contents ?? ['A128CBC-HS256']

const config = (own) => ({
  clients: said.clients,
  scopes: said.scopes,
  claims: said.claims,
  acrValues: said.acr ?? [],
  conformIdTokenClaims: !said.told,
  responseTypes: ['code'],
  pkce: { methods: ['S256'], required: () => said.pkce ?? true },
  cookies: { keys: ['only for tests'] },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 300, Grant: 600, Interaction: 600, Session: 600 },
  routes: said.routes ?? {},
  extraParams: said.extra ?? [],
  discovery: own.discovery,
  features: {
    devInteractions: { enabled: false },
    claimsParameter: { enabled: true },
    encryption: { enabled: true },
    jwtUserinfo: { enabled: own.userinfo },
    pushedAuthorizationRequests: { enabled: said.par !== 'never', requirePushedAuthorizationRequests: said.par === 'always' },
    requestObjects: {
      request: true, requestUri: false, mode: 'strict',
      assertJwtClaimsAndHeader: (_, claims, header) => { objects.set(claims.state, { alg: header.alg, claims }) },
    },
    resourceIndicators: { enabled: false },
    userinfo: { enabled: own.userinfo },
  },
  enabledJWA: {
    idTokenEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256'],
    idTokenEncryptionEncValues: ['A128CBC-HS256'],
    userinfoEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256'],
    userinfoEncryptionEncValues: ['A128CBC-HS256'],
    requestObjectEncryptionAlgValues: ['RSA-OAEP', 'RSA-OAEP-256'],
    requestObjectEncryptionEncValues: contents,
  },
  jwks: said.jwks,
  interactions: { url: (_, i) => `/interaction/${i.uid}` },
  findAccount: (_, sub) => ({ accountId: sub, claims: async (use) => ({ sub, ...said.person, ...said.told?.[use] }) }),
  renderError: (ctx, out) => { ctx.type = 'text'; ctx.body = JSON.stringify(out) },
})

// UserInfo may be a service of its own, with its own issuer and the same keys:
// a second provider, which remembers what the first one does.
const metadata = tinfo && { userinfo_endpoint: `http://127.0.0.1:${port}${tinfo.at}${said.routes.userinfo}`, userinfo_signing_alg_values_supported: ['RS256'] }
const provider = new Provider(issuer, config({ userinfo: !tinfo, discovery: metadata ?? {} }))
const mounts = [[said.realm ?? '', provider.callback()]]
if (tinfo) mounts.unshift([tinfo.at, new Provider(tinfo.issuer, config({ userinfo: true, discovery: {} })).callback()])

async function interact(req, res) {
  try {
    const { prompt, params, session } = await provider.interactionDetails(req, res)
    if (prompt.name === 'login') console.log(JSON.stringify({ params, reasons: prompt.reasons, object: objects.get(params.state) }))
    if (said.refuses) return await provider.interactionFinished(req, res, { error: 'access_denied', error_description: said.refuses })
    if (prompt.name === 'login') return await provider.interactionFinished(req, res, { login: { accountId: 'person-1', ...said.login } })
    const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id })
    if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '))
    if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims)
    await provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true })
  } catch (err) {
    res.statusCode = 500
    res.end(String(err))
  }
}

server.on('request', (req, res) => {
  if (req.url.startsWith('/interaction/')) return interact(req, res)
  const [at, serve] = mounts.find(([path]) => req.url.startsWith(`${path}/`)) ?? []
  if (!serve) return res.writeHead(404).end()
  req.originalUrl = req.url // from which the provider knows where it is
  req.url = req.url.slice(at.length)
  serve(req, res)
})
provider.on('server_error', (_, err) => console.error(err))
for (const what of ['grant.error', 'authorization.error', 'pushed_authorization_request.error', 'userinfo.error']) {
  provider.on(what, (_, err) => console.error(what, err.error, err.error_detail ?? err.error_description))
}
console.log(issuer)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
