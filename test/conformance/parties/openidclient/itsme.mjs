// A partner of itsme: writes the address that a browser is sent to, reads the one
// that it comes back with, and writes what it was told.
import readline from 'node:readline/promises'
import * as jose from 'jose'
import * as client from 'openid-client'

const said = JSON.parse(process.env.PARTNER)
const line = readline.createInterface({ input: process.stdin })
const use = async (pem, alg) => await jose.importPKCS8(pem, alg)

const metadata = { redirect_uris: [said.redirect], id_token_signed_response_alg: 'RS256' }
let auth
if (said.secret) {
  auth = client.ClientSecretPost(said.secret)
} else {
  auth = client.PrivateKeyJwt({ key: await use(said.signingKey, 'RS256'), kid: said.signingKID }, { [client.modifyAssertion]: (_, payload) => { payload.aud = `${said.issuer}/token` } })
}
const config = await client.discovery(new URL(said.issuer), said.clientID, metadata, auth, { execute: [client.allowInsecureRequests] })
if (!said.secret) {
  client.enableDecryptingResponses(config, ['A128CBC-HS256'], { key: await use(said.encKey, 'RSA-OAEP-256'), kid: said.encKID, alg: 'RSA-OAEP-256' })
}

const verifier = client.randomPKCECodeVerifier()
const params = {
  response_type: 'code', client_id: said.clientID, redirect_uri: said.redirect, scope: `openid service:${said.service} profile email phone address eid`,
  state: client.randomState(), nonce: client.randomNonce(), code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
}
let query = params
if (!said.secret) {
  const keys = await (await fetch(config.serverMetadata().jwks_uri)).json()
  const enc = keys.keys.find((k) => k.use === 'enc')
  const signed = await new jose.SignJWT({ ...params, claims: { userinfo: { age_gte_18: null } } })
    .setProtectedHeader({ alg: 'RS256', kid: said.signingKID }).setIssuer(said.clientID).setAudience(said.issuer).setIssuedAt().setExpirationTime('5m')
    .sign(await use(said.signingKey, 'RS256'))
  const request = await new jose.CompactEncrypt(new TextEncoder().encode(signed))
    .setProtectedHeader({ alg: 'RSA-OAEP-256', enc: 'A128CBC-HS256', cty: 'JWT', kid: enc.kid }).encrypt(await jose.importJWK(enc, 'RSA-OAEP-256'))
  query = { response_type: 'code', client_id: said.clientID, scope: 'openid', request }
}
console.log(`${config.serverMetadata().authorization_endpoint}?${new URLSearchParams(query)}`)
const tokens = await client.authorizationCodeGrant(config, new URL(await line.question('')), { pkceCodeVerifier: verifier, expectedState: params.state, expectedNonce: params.nonce })

// The client wants UserInfo labelled as what it is; itsme labels it as JSON.
const res = await fetch(config.serverMetadata().userinfo_endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } })
let info = await res.text()
if (!said.secret) {
  info = new TextDecoder().decode((await jose.compactDecrypt(info, await use(said.encKey, 'RSA-OAEP-256'))).plaintext)
}
const { payload } = await jose.jwtVerify(info, jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri)), { issuer: said.issuer, audience: said.clientID, algorithms: ['RS256'] })
console.log(JSON.stringify({ sub: tokens.claims().sub, info: payload }))
line.close()
