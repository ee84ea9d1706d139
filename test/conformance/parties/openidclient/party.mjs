// A relying party on openid-client, written as its documentation tells. It
// logs in whoever opens /EID, and shows what it was told.
import { createServer } from 'node:http'
import { randomUUID } from 'node:crypto'
import * as client from 'openid-client'

const party = JSON.parse(process.env.PARTY)
const config = await client.discovery(new URL(party.issuer), party.id, undefined, client.ClientSecretBasic(party.secret), {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], // loopback; check signatures too
})
if (party.decrypt) {
  const { alg, kid } = party.decrypt
  const key = await crypto.subtle.importKey('jwk', party.decrypt, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits'])
  client.enableDecryptingResponses(config, ['A256GCM'], { key, alg, kid })
}

const begun = new Map() // logins, by browser

async function begin(eid, res) {
  const browser = randomUUID()
  const login = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce() }
  begun.set(browser, login)
  const to = client.buildAuthorizationUrl(config, {
    redirect_uri: party.self + '/callback',
    scope: party.scope,
    state: login.expectedState,
    nonce: login.expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(login.pkceCodeVerifier),
    code_challenge_method: 'S256',
    acr_values: 'idp:' + eid,
  })
  res.writeHead(302, { location: to.href, 'set-cookie': `browser=${browser}; Path=/; HttpOnly` }).end()
}

async function finish(url, login) {
  const tokens = await client.authorizationCodeGrant(config, url, { ...login, idTokenExpected: true })
  const userinfo = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)
  const decrypted = [client.getDecryptedResponses(tokens)?.id_token?.token_endpoint, client.getDecryptedResponses(userinfo)]
  return { id_token: tokens.claims(), userinfo, decrypted: decrypted.filter(Boolean).length }
}

createServer(async (req, res) => {
  const url = new URL(req.url, party.self)
  try {
    if (url.pathname !== '/callback') return await begin(url.pathname.slice(1), res)
    const browser = req.headers.cookie?.match(/browser=([\w-]+)/)?.[1]
    const out = await finish(url, begun.get(browser))
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(out))
  } catch (e) {
    const out = { error: e.error ?? e.code ?? e.name, description: e.error_description ?? e.message }
    res.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(out))
  }
}).listen(new URL(party.self).port, '127.0.0.1')
