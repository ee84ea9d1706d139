// Renews the code each second, shows it in the whole window on demand, and
// says so when a part of it is out of view.
const code = document.querySelector("[data-qr]");
const link = document.querySelector("[data-enlarge]");
const status = document.querySelector("[role=status]");
if (code) {
  const big = document.createElement("dialog");
  const copy = code.cloneNode();
  const close = document.createElement("button");
  big.className = "big";
  close.textContent = link.dataset.close;
  close.addEventListener("click", () => big.close());
  big.append(copy, close);
  link.after(big);
  link.addEventListener("click", (e) => {
    e.preventDefault();
    big.showModal();
  });
  setInterval(() => {
    const src = code.dataset.qr + "t=" + Date.now();
    (big.open ? copy : code).src = src;
  }, 1000);
  let said = "";
  new IntersectionObserver(([e]) => {
    const part = e.intersectionRatio < 0.85 && !big.open;
    if (part && status.textContent !== code.dataset.part) said = status.textContent;
    if (part) status.textContent = code.dataset.part;
    else if (said) status.textContent = said;
  }, { threshold: [0, 0.85, 1] }).observe(code);
}
