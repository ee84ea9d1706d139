// A second opinion on signed XML. It reads one JSON line for each document,
//
//   {"doc": "<r>…</r>", "cert": "-----BEGIN…", "at": "path of the signed element"}
//
// and answers with one: {"octets": "…"} is what was signed, {"refused": "…"} why
// there is nothing. The path is made of element numbers from the root, "" for the
// root itself, so that no query language can choose another element.

import { createInterface } from "node:readline";
import { DOMParser } from "@xmldom/xmldom";
import { SignedXml } from "xml-crypto";

const dsig = "http://www.w3.org/2000/09/xmldsig#";

function fail(message) {
  throw new Error(message);
}

// parse makes an error of what the parser only warns about: it guesses on.
function parse(doc) {
  return new DOMParser({ errorHandler: { warning: fail, error: fail, fatalError: fail } }).parseFromString(doc, "text/xml");
}

function elements(node) {
  return Array.from(node.childNodes).filter((child) => child.nodeType === 1);
}

function verify({ doc, cert, at }) {
  let el = parse(doc).documentElement ?? fail("no root");
  for (const step of at.split("/").filter(Boolean)) {
    el = elements(el)[Number(step)] ?? fail("no such element");
  }
  const own = elements(el).filter((child) => child.localName === "Signature" && child.namespaceURI === dsig);
  if (own.length !== 1) {
    fail(`${own.length} signatures`);
  }
  const signed = new SignedXml({ publicCert: cert, getCertFromKeyInfo: () => null });
  signed.loadSignature(own[0]);
  if (!signed.checkSignature(doc)) {
    fail("digest");
  }
  const references = signed.getSignedReferences();
  return references.length === 1 ? references[0] : fail(`${references.length} references`);
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { octets: verify(JSON.parse(line)) };
  } catch (error) {
    answer = { refused: String(error.message).slice(0, 200) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
