// Keeps a waiting page current. 204 means that the flow has moved on: load the
// page again and let the server send the browser where it must go.
const box = document.querySelector("[data-poll]");
let fails = 0;
async function poll() {
  const answer = await fetch(box.dataset.poll, { cache: "no-store" }).catch(() => null);
  if (answer?.status === 204) return location.reload();
  if (answer?.ok) {
    const text = await answer.text();
    if (box.innerHTML !== text) box.innerHTML = text;
    fails = 0;
  } else if (++fails > 1) {
    box.textContent = box.dataset.offline;
  }
  setTimeout(poll, Math.min(Number(box.dataset.after) * 2 ** Math.max(0, fails - 1), 8000));
}
if (box) {
  setTimeout(poll, Number(box.dataset.after));
  addEventListener("pageshow", (e) => e.persisted && location.reload());
  // A phone's browser sleeps while the app is in front: ask at once after it.
  document.addEventListener("visibilitychange", () => document.hidden || location.reload());
}
