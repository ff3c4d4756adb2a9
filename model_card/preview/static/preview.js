// Theme and width buttons, and a reload when the records or the templates have changed.
const root = document.documentElement;
const remembered = (name) => sessionStorage.getItem(`kosent-${name}`);

function apply() {
  for (const name of ["theme", "width"]) {
    const value = remembered(name);
    if (value) root.dataset[name] = value;
    else delete root.dataset[name];
  }
}

const isDark = () =>
  root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;

document.addEventListener("click", (event) => {
  const action = event.target.dataset?.action;
  if (action === "theme") sessionStorage.setItem("kosent-theme", isDark() ? "light" : "dark");
  if (action === "phone") {
    sessionStorage.setItem("kosent-width", root.dataset.width === "phone" ? "" : "phone");
  }
  if (action) apply();
});

let shown = null;
async function watch() {
  try {
    const now = await (await fetch("version", { cache: "no-store" })).text();
    if (shown !== null && now !== shown) location.reload();
    shown = now;
  } catch {
    // The preview has ended; the page stays as it was.
    return;
  }
  setTimeout(watch, 1000);
}

apply();
watch();
