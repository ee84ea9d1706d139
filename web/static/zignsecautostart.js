// For pages that frame ours: opens the BankID app from the top window when a
// framed page of this server asks for it. Nothing else is ever opened.
const from = new URL(document.currentScript.src).origin;
addEventListener("message", (e) => {
  const url = e.data?.command === "zignsec_autostart" ? String(e.data.url) : "";
  if (e.origin !== from) return;
  if (url.startsWith("bankid:///") || url.startsWith("https://app.bankid.com/")) location.href = url;
});
