// Keeps the phone current without losing what somebody types: when the server
// says that something changed, the page is fetched again and its live parts
// are put in place. Counts seconds down, and reads codes with the camera where
// the browser can.
const live = () => document.querySelectorAll("[data-live]");

async function renew() {
  const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  const was = document.querySelector("[data-pending]");
  // An order that has ended, or was opened by itself: the whole device changes.
  const over = was && !next.querySelector("[data-pending]");
  const device = document.querySelector(".device");
  const typing = device.contains(document.activeElement) && document.activeElement.matches("input, select");
  if ((over || (!was && next.querySelector("[data-pending]"))) && !typing) device.replaceWith(next.querySelector(".device"));
  for (const part of live()) {
    const fresh = next.getElementById(part.id);
    if (!fresh || fresh.innerHTML === part.innerHTML) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
    const open = [...part.querySelectorAll("details")].map((d) => d.open);
    part.replaceChildren(...fresh.childNodes);
    part.querySelectorAll("details").forEach((d, i) => (d.open = open[i] ?? false));
    if (focused) part.querySelector(`[data-testid="${focused}"]`)?.focus();
  }
}

const events = new EventSource("/phone/events");
events.addEventListener("message", renew);
addEventListener("pagehide", () => events.close());
addEventListener("pageshow", (e) => e.persisted && location.reload());

setInterval(() => {
  for (const box of document.querySelectorAll("[data-left]")) {
    const left = Math.max(0, Number(box.dataset.left) - 1);
    box.dataset.left = left;
    box.textContent = `${left} s left`;
  }
}, 1000);

const camera = document.querySelector("[data-camera]");
const view = document.querySelector("[data-view]");
if ("BarcodeDetector" in window && navigator.mediaDevices) {
  camera.hidden = false;
  camera.addEventListener("click", async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(() => null);
    if (!stream) {
      camera.textContent = "The camera cannot be used here";
      return;
    }
    view.hidden = false;
    view.srcObject = stream;
    await view.play();
    const reader = new BarcodeDetector({ formats: ["qr_code"] });
    for (;;) {
      const found = (await reader.detect(view).catch(() => []))[0];
      if (found) {
        stream.getTracks().forEach((t) => t.stop());
        document.getElementById("code").value = found.rawValue;
        document.getElementById("scanner").requestSubmit(document.querySelector("[data-testid=scan-text]"));
        return;
      }
      await new Promise((r) => setTimeout(r, 200));
    }
  });
}
