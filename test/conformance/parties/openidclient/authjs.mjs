// The provider "bankid-no" of Auth.js (next-auth 5) as it comes, without a change:
// this is the same configuration, on oauth4webapi, the library that Auth.js does
// its logins with. Its type is "oidc": metadata from
// {issuer}/.well-known/openid-configuration, scope "openid profile email" since it
// names none, ui_locales "no", client_secret_post, and the profile from the ID
// token alone. Of its checks pkce is always on, and state with a redirect proxy;
// there is no nonce.
import * as oauth from 'oauth4webapi'
import { said, tell, visit } from './eid.mjs'

const provider = {
  issuer: new URL(said.issuer),
  client: { client_id: said.clientID, token_endpoint_auth_method: 'client_secret_post' },
  params: { ui_locales: 'no', scope: 'openid profile email' },
  profile: (claims) => ({ id: claims.sub, name: claims.name, email: claims.email ?? null, image: null }),
}
const insecure = { [oauth.allowInsecureRequests]: true } // loopback

const server = await oauth.processDiscoveryResponse(provider.issuer, await oauth.discoveryRequest(provider.issuer, insecure))
for (const name of ['authorization_endpoint', 'token_endpoint', 'userinfo_endpoint']) {
  if (!server[name]) throw new Error(`there is no ${name}`)
}
const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const address = new URL(server.authorization_endpoint)
address.search = new URLSearchParams({
  response_type: 'code', client_id: said.clientID, redirect_uri: said.redirect, ...provider.params,
  state, code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
})

const back = await visit(address)
const params = oauth.validateAuthResponse(server, provider.client, back.searchParams, state)
const answer = await oauth.authorizationCodeGrantRequest(server, provider.client, oauth.ClientSecretPost(said.secret), params, said.redirect, verifier, insecure)
const tokens = await oauth.processAuthorizationCodeResponse(server, provider.client, answer, { expectedNonce: oauth.expectNoNonce, requireIdToken: true })
const claims = oauth.getValidatedIdTokenClaims(tokens)
tell({ claims, profile: provider.profile(claims) })
