// Asks two minutes before the page ends whether the person needs more time.
const dialog = document.querySelector("dialog[data-left]");
if (dialog) setTimeout(() => dialog.showModal(), Math.min(Math.max(0, dialog.dataset.left - 120000), 2 ** 31 - 1));
