// What relying parties of an eID have in common. Their settings come as JSON in
// the environment; they write the address that a browser is sent to, read the one
// that it comes back with, and write what they were told.
import readline from 'node:readline/promises'
import * as jose from 'jose'
import * as client from 'openid-client'

export const said = JSON.parse(process.env.PARTNER)
const line = readline.createInterface({ input: process.stdin })

// visit sends a browser away, and is where it comes back.
export async function visit(address) {
  console.log(String(address))
  return new URL(await line.question(''))
}

// tell ends the login.
export function tell(what) {
  console.log(JSON.stringify(what))
  line.close()
}

export const privateKey = async (pem, alg) => await jose.importPKCS8(pem, alg)

// checks are what a login must remember, and what of it is in the request.
export async function checks() {
  const kept = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState(), expectedNonce: client.randomNonce() }
  const params = { state: kept.expectedState, nonce: kept.expectedNonce, code_challenge: await client.calculatePKCECodeChallenge(kept.pkceCodeVerifier), code_challenge_method: 'S256' }
  return { kept, params }
}

// seal encrypts a request object to the provider's key.
export async function seal(config, text, header) {
  const { keys } = await (await fetch(config.serverMetadata().jwks_uri)).json()
  const enc = keys.find((k) => k.use === 'enc')
  return await new jose.CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader({ alg: 'RSA-OAEP-256', kid: enc.kid, ...header }).encrypt(await jose.importJWK(enc, 'RSA-OAEP-256'))
}

// verify checks a UserInfo that somebody has signed with a key of the provider.
export async function verify(config, token, rules) {
  const keys = jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri))
  return (await jose.jwtVerify(token, keys, { audience: said.clientID, algorithms: ['RS256'], ...rules })).payload
}
