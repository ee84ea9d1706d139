// Copies a button's value, or the page's address for those who must open it in
// another browser.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.value || location.href);
    button.textContent = button.dataset.copied;
  });
}
