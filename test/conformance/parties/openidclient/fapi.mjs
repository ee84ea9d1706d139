// A relying party of the FAPI 2.0 Security Profile on openid-client, written as
// its documentation tells: it pushes its requests, proves itself and its tokens
// with keys, logs in whoever opens /EID, and shows what it was told.
import { createServer } from 'node:http'
import { randomUUID } from 'node:crypto'
import * as client from 'openid-client'

const party = JSON.parse(process.env.PARTY)
const key = await crypto.subtle.importKey('jwk', party.sign, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const config = await client.discovery(
  new URL(party.issuer),
  party.id,
  { id_token_signed_response_alg: 'PS256' },
  client.PrivateKeyJwt({ key, kid: party.sign.kid }),
  { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks] }, // loopback; check signatures too
)

const begun = new Map() // logins, by browser

async function begin(eid, res) {
  const browser = randomUUID()
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
  const checks = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce() }
  begun.set(browser, { checks, DPoP })
  const to = await client.buildAuthorizationUrlWithPAR(
    config,
    {
      redirect_uri: party.self + '/callback',
      scope: party.scope,
      state: checks.expectedState,
      nonce: checks.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
      code_challenge_method: 'S256',
      acr_values: 'idp:' + eid,
    },
    { DPoP },
  )
  res.writeHead(302, { location: to.href, 'set-cookie': `browser=${browser}; Path=/; HttpOnly` }).end()
}

async function finish(url, { checks, DPoP }) {
  const tokens = await client.authorizationCodeGrant(config, url, { ...checks, idTokenExpected: true }, undefined, { DPoP })
  const userinfo = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub, { DPoP })
  return { id_token: tokens.claims(), userinfo, token_type: tokens.token_type }
}

createServer(async (req, res) => {
  const url = new URL(req.url, party.self)
  try {
    if (url.pathname !== '/callback') return await begin(url.pathname.slice(1), res)
    const browser = req.headers.cookie?.match(/browser=([\w-]+)/)?.[1]
    const out = await finish(url, begun.get(browser) ?? {})
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(out))
  } catch (e) {
    const out = { error: e.error ?? e.code ?? e.name, description: e.error_description ?? e.message }
    res.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(out))
  }
}).listen(new URL(party.self).port, '127.0.0.1')
