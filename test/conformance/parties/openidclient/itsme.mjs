// A partner of itsme, with a secret, or with everything signed and encrypted.
import * as jose from 'jose'
import * as client from 'openid-client'
import { checks, privateKey, said, seal, tell, verify, visit } from './eid.mjs'

const metadata = { redirect_uris: [said.redirect], id_token_signed_response_alg: 'RS256' }
let auth
if (said.secret) {
  auth = client.ClientSecretPost(said.secret)
} else {
  auth = client.PrivateKeyJwt({ key: await privateKey(said.key, 'RS256'), kid: said.keyID }, { [client.modifyAssertion]: (_, payload) => { payload.aud = `${said.issuer}/token` } })
}
const config = await client.discovery(new URL(said.issuer), said.clientID, metadata, auth, { execute: [client.allowInsecureRequests] })
const opens = {} // our keys, of which itsme takes any
if (!said.secret) {
  for (const [kid, pem] of Object.entries(said.encKeys)) opens[kid] = await privateKey(pem, 'RSA-OAEP-256')
  client.enableDecryptingResponses(config, ['A128CBC-HS256'], ...Object.entries(opens).map(([kid, key]) => ({ key, kid, alg: 'RSA-OAEP-256' })))
}

const { kept, params: random } = await checks()
const params = { response_type: 'code', client_id: said.clientID, redirect_uri: said.redirect, scope: `openid service:${said.service} profile email phone address eid`, ...random }
let query = params
if (!said.secret) {
  const signed = await new jose.SignJWT({ ...params, claims: { userinfo: { age_gte_18: null } } })
    .setProtectedHeader({ alg: 'RS256', kid: said.keyID }).setIssuer(said.clientID).setAudience(said.issuer).setIssuedAt().setExpirationTime('5m')
    .sign(await privateKey(said.key, 'RS256'))
  query = { response_type: 'code', client_id: said.clientID, scope: 'openid', request: await seal(config, signed, { enc: 'A128CBC-HS256', cty: 'JWT' }) }
}
const back = await visit(`${config.serverMetadata().authorization_endpoint}?${new URLSearchParams(query)}`)
const tokens = await client.authorizationCodeGrant(config, back, kept)

// The client wants UserInfo labelled as what it is; itsme labels it as JSON.
const res = await fetch(config.serverMetadata().userinfo_endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } })
let info = await res.text()
if (!said.secret) {
  info = new TextDecoder().decode((await jose.compactDecrypt(info, (header) => opens[header.kid])).plaintext)
}
tell({ claims: tokens.claims(), info: await verify(config, info, { issuer: said.issuer }) })
