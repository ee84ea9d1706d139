// Goes on by itself where there is nothing to decide: submits a form once,
// opens the app once for each order, leaves at the end.
const form = document.querySelector("form[data-auto]");
if (form) form.requestSubmit(form.querySelector("[data-default]") ?? undefined);

// What comes out of the browser's memory is out of date.
addEventListener("pageshow", (e) => e.persisted && location.reload());

// A click that was meant for what was here before confirms nothing: a form that
// does works half a second after it has come into view.
const guarded = document.querySelector("form[data-guard]");
if (guarded) {
  let timer;
  new IntersectionObserver(() => {
    guarded.dataset.guard = "on";
    clearTimeout(timer);
    timer = setTimeout(() => (guarded.dataset.guard = "off"), 500);
  }).observe(guarded);
  guarded.addEventListener("submit", (e) => guarded.dataset.guard === "on" && e.preventDefault());
}

// Help comes three seconds later, when the app has not opened.
const late = document.querySelector("[data-late]");
if (late) {
  late.hidden = true;
  setTimeout(() => (late.hidden = false), 3000);
}

const app = document.querySelector("a[data-launch]");
if (app && sessionStorage.getItem("launched") !== app.dataset.launch) {
  sessionStorage.setItem("launched", app.dataset.launch);
  if (window === window.top) app.click();
  else for (const origin of (app.dataset.origins || "").split(" ")) if (origin) parent.postMessage({ command: "zignsec_autostart", url: app.href }, origin);
}

// A frame says where it goes on once its link has opened a window.
const away = document.querySelector("a[data-away][target]");
away?.addEventListener("click", () => (document.querySelector("[data-poll]").textContent = away.dataset.away));

if (location.hash.startsWith("#nonce=")) {
  const body = new URLSearchParams({ nonce: location.hash.slice(7) });
  history.replaceState(null, "", location.pathname + location.search);
  fetch("returned" + location.search, { method: "POST", body }).catch(() => null);
  const began = document.querySelector("[data-returned]"); // in another browser than this one
  if (began) began.textContent = began.dataset.returned;
}

const end = document.querySelector("[data-end]");
if (end) {
  const to = window.opener ?? (window === window.top ? null : parent);
  const message = end.dataset.text ? end.dataset.message : JSON.parse(end.dataset.message);
  for (const origin of (end.dataset.origins || "").split(" ")) if (to && origin) to.postMessage(message, origin);
  if (window.opener) setTimeout(() => close(), 500);
  if (end.dataset.end) setTimeout(() => location.replace(end.dataset.end), 100);
}
