// Makes three things quicker: opens a pop-up, goes on as soon as a frame or a
// pop-up says that its login has ended, and shows the webhook when it comes.
const { broker } = document.body.dataset;
const form = document.querySelector("[data-login]");
let popup = null;

form?.addEventListener("submit", () => {
  if (form.elements.open.value !== "popup") return form.removeAttribute("target");
  popup = window.open("", "login", "popup,width=480,height=800");
  if (popup) form.target = "login";
});

// A message is a hint, and only from eidgate's page in a window that we opened.
addEventListener("message", (e) => {
  const known = [popup, document.querySelector("iframe")?.contentWindow];
  if (e.origin !== broker || !e.source || !known.includes(e.source)) return;
  if (e.data?.command !== "zignsec_postback" || typeof e.data.token !== "string") return;
  location.assign("/done?token=" + encodeURIComponent(e.data.token));
});

// Back in the pop-up: the page that opened it shows the result.
if (window.opener && window.name === "login") {
  window.opener.location.hash = "result";
  window.opener.location.reload();
  window.close();
}

let tries = 20;
async function wait() {
  const answer = await fetch("/").catch(() => null);
  const next = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]:not([data-wait])");
  if (next) document.querySelector("[data-live]").replaceWith(next);
  else if (--tries) setTimeout(wait, 1000);
}
if (document.querySelector("[data-wait]")) setTimeout(wait, 500);
