// A service provider of MitID at Nets eID Broker: it pushes a form, or a request
// object if it has a key.
import * as client from 'openid-client'
import { checks, privateKey, said, tell, visit } from './eid.mjs'

const signing = said.key && { key: await privateKey(said.key, 'RS256'), kid: said.keyID }
const auth = { client_secret_basic: client.ClientSecretBasic, client_secret_post: client.ClientSecretPost, private_key_jwt: client.PrivateKeyJwt }[said.auth](signing || said.secret)
const config = await client.discovery(new URL(said.issuer), said.clientID, undefined, auth, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], // loopback; check signatures too
})

const { kept, params: random } = await checks()
const options = { mitid: { loa_value: 'high', action_text: 'APPROVE', reference_text: Buffer.from(said.reference).toString('base64') } }
let params = {
  response_type: 'code', redirect_uri: said.redirect, scope: 'openid mitid ssn nemid.pid', prompt: 'login', language: 'da', idp_values: 'mitid',
  idp_params: JSON.stringify(options), ...random,
}
if (signing) { // the options are an object there, and text elsewhere
  const url = await client.buildAuthorizationUrlWithJAR(config, params, signing, { [client.modifyAssertion]: (_, payload) => { payload.idp_params = options } })
  params = url.searchParams
}
const tokens = await client.authorizationCodeGrant(config, await visit(await client.buildAuthorizationUrlWithPAR(config, params)), { ...kept, idTokenExpected: true })
const claims = tokens.claims()
tell({ claims, info: await client.fetchUserInfo(config, tokens.access_token, claims.sub) })
