// A second opinion on tokens. It reads one JSON line for each thing to do,
//
//   {"do": "verify",  "jwks": {…}, "alg": "ES256", "token": "…"}
//   {"do": "sign",    "alg": "ES256", "text": "…"}           with a key of its own
//   {"do": "encrypt", "jwks": {…}, "alg": "RSA-OAEP", "enc": "A256GCM", "text": "…"}
//   {"do": "keys",    "alg": "RSA-OAEP", "crv": "P-256"}     makes the key for decrypt
//   {"do": "decrypt", "alg": "RSA-OAEP", "enc": "A256GCM", "token": "…"}
//   {"do": "print",   "jwk": {…}}                            RFC 7638
//
// and answers with one: the token or text that came of it, with the header that
// it has read or the keys that others need; {"refused": "…"} if nothing did.

import { createInterface } from "node:readline";
import * as jose from "jose";

const utf8 = { bytes: (s) => new TextEncoder().encode(s), text: (b) => new TextDecoder().decode(b) };
const own = new Map(); // algorithm → key to decrypt with

async function generate(alg, options, use) {
  const pair = await jose.generateKeyPair(alg, { extractable: true, ...options });
  const jwk = { ...(await jose.exportJWK(pair.publicKey)), kid: "theirs", use };
  return { ...pair, jwks: { keys: [jwk] } };
}

const does = {
  async verify({ jwks, alg, token }) {
    const { payload, protectedHeader } = await jose.compactVerify(token, jose.createLocalJWKSet(jwks), { algorithms: [alg] });
    return { octets: Buffer.from(payload).toString("base64"), header: protectedHeader };
  },
  async sign({ alg, text }) {
    const { privateKey, jwks } = await generate(alg, { modulusLength: 2048 }, "sig");
    const signer = new jose.CompactSign(utf8.bytes(text)).setProtectedHeader({ alg, typ: "JWT", kid: "theirs" });
    return { token: await signer.sign(privateKey), jwks };
  },
  async encrypt({ jwks, alg, enc, text }) {
    const jwk = jwks.keys.find((key) => key.use === "enc" && key.alg === alg);
    const encrypter = new jose.CompactEncrypt(utf8.bytes(text)).setProtectedHeader({ alg, enc, kid: jwk.kid, cty: "JWT" });
    return { token: await encrypter.encrypt(await jose.importJWK(jwk, alg)) };
  },
  async keys({ alg, crv }) {
    const { privateKey, jwks } = await generate(alg, { modulusLength: 2048, crv }, "enc");
    own.set(alg, privateKey);
    return { jwks };
  },
  async decrypt({ alg, enc, token }) {
    const options = { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: [enc] };
    const { plaintext, protectedHeader } = await jose.compactDecrypt(token, own.get(alg), options);
    return { text: utf8.text(plaintext), header: protectedHeader };
  },
  async print({ jwk }) {
    return { text: await jose.calculateJwkThumbprint(jwk) };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const task = JSON.parse(line);
    answer = await does[task.do](task);
  } catch (error) {
    answer = { refused: String(error.message).slice(0, 200) || "for no reason given" };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
