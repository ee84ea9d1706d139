// A relying party of Swedish BankID, written on the npm package "bankid". It
// prints one JSON line a step and goes on when it reads a line; meanwhile the
// caller is the person with the phone.
//
//   PASSPHRASE=... node flow.mjs HOST PORT CLIENT.pfx CA.pem

import { createInterface } from "node:readline";
import { BankIdClientV6, BankIdError } from "bankid";

const [host, port, pfx, ca] = process.argv.slice(2);
const passphrase = process.env.PASSPHRASE;
const endUserIp = "192.0.2.7";
const bo = "199001032391";

// The package knows the addresses of the test and of the live service, and has
// no option for a third. Its createAxiosInstance may be overridden: URL, Host
// header and TLS name stay its own, only the connection is made elsewhere.
class Client extends BankIdClientV6 {
  createAxiosInstance() {
    const axios = super.createAxiosInstance();
    Object.assign(axios.defaults.httpsAgent.options, { host, port });
    return axios;
  }
}

const started = new Map(); // orderRef → when, and the secrets of its codes
// The package collects at an interval and not after an answer: were it short, two
// collects would overlap on a busy machine, and the answer is given once.
const settings = { pfx, passphrase, ca, refreshInterval: 2000, qrOptions: { customCache: started } };
const client = new Client(settings);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function step(name, seen) {
  console.log(JSON.stringify({ step: name, ...seen }));
  await lines.next();
}

// code is what the package would draw so many seconds after the start.
async function code({ qr, orderRef }, seconds = 0) {
  const entry = started.get(orderRef);
  started.set(orderRef, { ...entry, startTime: entry.startTime - seconds * 1000 });
  const { value } = await qr.nextQr(orderRef, { maxCycles: 1 }).next();
  started.set(orderRef, entry);
  return value;
}

// told picks what a relying party wants to know, by the names that the
// package's types give it.
function told({ status, hintCode, completionData: done }) {
  if (!done) return { status, hint: hintCode };
  const { user, device, bankIdIssueDate: issued, signature, ocspResponse: ocsp } = done;
  const { personalNumber: number, name, givenName: given, surname: family } = user;
  return { status, number, name, given, family, address: device.ipAddress, issued, signature, ocsp };
}

// refusal is the package's error of a call that must not succeed.
async function refusal(call) {
  try {
    await call;
  } catch (e) {
    return { typed: e instanceof BankIdError, error: e.code, details: e.details };
  }
  throw new Error("the call was not refused");
}

// A login: the code is scanned, then approved.
const login = await client.authenticate({ endUserIp });
await step("login", { orderRef: login.orderRef, token: login.autoStartToken, code: await code(login), later: await code(login, 10) });
await step("login not scanned", told(await client.collect({ orderRef: login.orderRef })));
await step("login scanned", told(await client.collect({ orderRef: login.orderRef })));
await step("login approved", told(await client.collect({ orderRef: login.orderRef })));
await step("login collected again", await refusal(client.collect({ orderRef: login.orderRef })));

// A signature of one certain person, collected by the package's own loop.
const sign = await client.sign({
  endUserIp,
  userVisibleData: "Jag köper *räksmörgåsar*",
  userVisibleDataFormat: "simpleMarkdownV1",
  userNonVisibleData: "order 4711",
  requirement: { personalNumber: bo, pinCode: true },
});
await step("sign", { orderRef: sign.orderRef, code: await code(sign) });
await step("sign approved", told(await client.awaitPendingCollect(sign.orderRef)));

// The person cancels in the app; the package rejects with the answer.
const declined = await client.authenticate({ endUserIp });
await step("decline", { orderRef: declined.orderRef });
await step("decline collected", told(await client.awaitPendingCollect(declined.orderRef).catch((answer) => {
  if (!answer.status) throw answer; // a call that failed, which nobody expects
  return answer;
})));

// The relying party cancels.
const cancelled = await client.authenticate({ endUserIp });
await step("cancel", { orderRef: cancelled.orderRef });
await step("cancel answered", { answer: await client.cancel({ orderRef: cancelled.orderRef }) });
await step("cancel collected", await refusal(client.collect({ orderRef: cancelled.orderRef })));

// What the service refuses.
await step("bad address", await refusal(client.authenticate({ endUserIp: "nowhere" })));
await step("bad number", await refusal(client.authenticate({ endUserIp, requirement: { personalNumber: "1" } })));
const first = await client.authenticate({ endUserIp, requirement: { personalNumber: bo } });
await step("second order", await refusal(client.authenticate({ endUserIp, requirement: { personalNumber: bo } })));
await step("first order", told(await client.collect({ orderRef: first.orderRef })));

// The certificate that comes with the package, from BankID's own test bank.
await step("foreign client", await refusal(new Client({ ca }).authenticate({ endUserIp })));
// The root that comes with the package does not vouch for this server. The
// package's error for that does not say why, so ask the layer below.
await step("foreign server", await refusal(new Client({ pfx, passphrase }).axios.post("auth", { endUserIp })));
lines.return();
