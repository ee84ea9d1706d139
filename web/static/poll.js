// Keeps a waiting page current: a line of the answer for each part of the box,
// of which only those that change are spoken. 204 means that the flow has
// moved on: load the page again and let the server say where it is.
const box = document.querySelector("[data-poll]");
let fails = 0;
let timer;
async function poll() {
  clearTimeout(timer);
  const answer = await fetch(box.dataset.poll, { cache: "no-store" }).catch(() => null);
  if (answer?.status === 204) return moved(answer.headers.has("Eidgate-Ended"));
  if (answer?.ok) {
    fails = 0;
    say((await answer.text()).split("\n"));
  } else if (++fails > 1 && answer?.status !== 429) { // too often: only slower
    say([box.dataset.offline]);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, Math.min(Number(box.dataset.after) * 2 ** Math.max(0, fails - 1), 8000));
}
function say(lines) {
  for (const [i, part] of [...box.children].entries()) {
    if (part.textContent !== (lines[i] ?? "")) part.textContent = lines[i] ?? "";
  }
}
// Of several tabs, the first that learns of the end goes back; others say so.
function moved(ended) {
  const key = "left " + location.pathname;
  try {
    if (ended && localStorage.getItem(key)) return location.replace("./" + (location.search ? location.search + "&" : "?") + "tab=1");
    if (ended) {
      for (const old of Object.keys(localStorage)) if (old.startsWith("left ")) localStorage.removeItem(old);
      localStorage.setItem(key, "1");
    }
  } catch {} // storage is blocked: both go back
  const counter = /k=(counter|scanned)/.test(box.dataset.poll); // there, the end stays in view for a while
  if (ended && counter) return location.replace("./" + (location.search ? location.search + "&" : "?") + "tick=1");
  location.reload();
}
if (box) {
  timer = setTimeout(poll, Number(box.dataset.after));
  // A phone's browser sleeps while the app is in front: ask at once after it.
  document.addEventListener("visibilitychange", () => document.hidden || poll());
}
