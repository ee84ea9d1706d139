// Renews the code each second, shows it in the whole window on demand, and
// says so when a part of it is out of view.
const code = document.querySelector("[data-qr]");
if (code) {
  const link = document.querySelector("[data-enlarge]");
  const warning = document.querySelector("[data-part]");
  const big = document.createElement("dialog");
  const copy = code.cloneNode();
  const close = document.createElement("button");
  big.className = "big";
  big.ariaLabel = link.textContent;
  close.textContent = link.dataset.close;
  close.addEventListener("click", () => big.close());
  big.append(copy, close);
  link.after(big);
  link.addEventListener("click", (e) => {
    e.preventDefault();
    copy.src = code.src;
    big.showModal();
  });
  setInterval(() => {
    if (!document.hidden) (big.open ? copy : code).src = code.dataset.qr + "t=" + Date.now();
  }, 1000);
  let seen = 1; // of the code, as a part of all
  const warn = () => (warning.textContent = seen < 0.85 && !big.open ? warning.dataset.part : "");
  new IntersectionObserver((all) => {
    seen = all.at(-1).intersectionRatio;
    warn();
  }, { threshold: [0, 0.85, 1] }).observe(code);
  big.addEventListener("close", warn);
}
