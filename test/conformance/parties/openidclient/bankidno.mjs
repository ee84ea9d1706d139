// A party of Norwegian BankID. Its request goes in the address, is pushed, or is
// encrypted: signed first by who has a key, and bare JSON from who has none.
import * as jose from 'jose'
import * as client from 'openid-client'
import { checks, privateKey, said, seal, tell, verify, visit } from './eid.mjs'

const signing = said.key && { key: await privateKey(said.key, 'RS256'), kid: said.keyID }
const auth = { client_secret_basic: client.ClientSecretBasic, client_secret_post: client.ClientSecretPost, private_key_jwt: client.PrivateKeyJwt }[said.auth](signing || said.secret)
const config = await client.discovery(new URL(said.issuer), said.clientID, undefined, auth, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], // loopback; check signatures too
})
const provider = config.serverMetadata()

const { kept, params: random } = await checks()
const params = { response_type: 'code', redirect_uri: said.redirect, scope: 'openid profile nnin_altsub phone email address', login_hint: said.hint, ui_locales: 'nb', ...random }
let address
switch (said.by) {
  case 'query':
    address = client.buildAuthorizationUrl(config, params)
    break
  case 'pushed':
    address = await client.buildAuthorizationUrlWithPAR(config, params)
    break
  case 'sealed': {
    if (provider.pushed_authorization_request_endpoint) throw new Error('the provider takes pushed requests')
    const claims = { ...params, client_id: said.clientID, iss: said.clientID, sub: said.clientID, aud: said.issuer, jti: client.randomState() }
    const text = signing ? await new jose.SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: said.keyID }).setIssuedAt().setExpirationTime('5m').sign(signing.key) : JSON.stringify(claims)
    address = client.buildAuthorizationUrl(config, { client_id: said.clientID, request: await seal(config, text, { enc: 'A256GCM', typ: 'JWT' }) })
  }
}

const back = await visit(address)
try {
  const tokens = await client.authorizationCodeGrant(config, back, { ...kept, idTokenExpected: true })
  // The client wants UserInfo to have the issuer of the ID token, and here a
  // service of its own signs it, with the keys of the realm.
  const res = await client.fetchProtectedResource(config, tokens.access_token, new URL(provider.userinfo_endpoint), 'GET')
  const type = res.headers.get('content-type')
  if (type !== 'application/jwt') throw new Error(`UserInfo comes as ${type}`)
  const claims = tokens.claims()
  const info = await verify(config, await res.text(), { issuer: new URL('.', provider.userinfo_endpoint).href.slice(0, -1), subject: claims.sub, requiredClaims: ['iat', 'exp'] })
  tell({ claims, info })
} catch (err) {
  if (!(err instanceof client.AuthorizationResponseError)) throw err
  tell({ error: err.error, description: err.error_description })
}
