// A field above a list of banks that shows those whose name fits, and says how
// many they are. Without scripts the list is whole.
const list = document.querySelector("[data-search]");
const entries = list ? [...list.querySelectorAll("button")] : [];
const plain = (s) => s.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
if (entries.length > 1) {
  const label = document.createElement("label");
  const field = Object.assign(document.createElement("input"), { type: "search", autocomplete: "off" });
  const found = Object.assign(document.createElement("p"), { className: "hint", role: "status" });
  label.append(list.dataset.search, field);
  list.before(label, found);
  field.addEventListener("keydown", (e) => e.key === "Enter" && e.preventDefault());
  field.addEventListener("input", () => {
    let n = 0;
    for (const b of entries) {
      b.hidden = !plain(b.querySelector("b").textContent).includes(plain(field.value.trim()));
      if (!b.hidden) n++;
    }
    for (const h of list.querySelectorAll("h2")) {
      let next = h.nextElementSibling;
      while (next?.matches("button[hidden]")) next = next.nextElementSibling;
      h.hidden = !next?.matches("button");
    }
    found.textContent = { 0: list.dataset.none, 1: list.dataset.single }[n] ?? list.dataset.count.replace("{count}", n);
  });
}
