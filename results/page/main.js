// Which view is shown: the part of the address after # says it, so that every view can be linked to.

const VIEWS = [
  [/^#\/runs(?:\?(.*))?$/, "runs", (store, query) => runsView(store, new URLSearchParams(query ?? ""))],
  [/^#\/setting\/(.+)$/, "board", (store, id) => settingView(store, decodeURIComponent(id))],
  [/^#\/run\/(.+)$/, "runs", (store, folder) => runView(store, decodeURIComponent(folder))],
  [/^#\/about$/, "about", (store) => aboutView(store)],
  [/^(?:#\/)?(?:\?(.*))?$/, "board", (store, query) => boardView(store, new URLSearchParams(query ?? ""))],
];

let turn = 0;

async function route(store, isFirst) {
  const mine = ++turn;
  const tried = VIEWS.map(([pattern, name, draw]) => [pattern.exec(location.hash), name, draw]);
  const [match, page, view] = tried.find(([found]) => found) ?? [];
  const content = view ? await view(store, match[1]) : lost("This address has no view.");
  if (mine !== turn) return; // another address was opened meanwhile
  const main = document.getElementById("main");
  main.replaceChildren(...content);
  const heading = main.querySelector("h1");
  document.title = `${heading.textContent} · clusterbench`;
  for (const link of document.querySelectorAll("[data-page]")) {
    if (link.dataset.page === page) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (isFirst) return;
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

// Keeps the state of a view in its address, without a step in the history for each click.
function remember(path, state, defaults) {
  const told = Object.entries(state).filter(([name, value]) => value !== (defaults[name] ?? ""));
  const query = new URLSearchParams(told).toString();
  history.replaceState(null, "", query ? `${path}?${query}` : path);
}

function chooseTheme() {
  const field = document.getElementById("theme");
  const apply = (theme) => {
    document.documentElement.dataset.theme = field.value = theme;
  };
  const kept = stored((storage) => storage.getItem("clusterbench-theme"));
  apply(["light", "dark"].includes(kept) ? kept : "auto");
  field.addEventListener("change", () => {
    apply(field.value);
    stored((storage) => storage.setItem("clusterbench-theme", field.value));
  });
}

function stored(use) {
  try {
    return use(localStorage);
  } catch {
    return null; // a browser that keeps nothing for files from disk
  }
}

async function start() {
  chooseTheme();
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address belongs to the view
    document.getElementById("main").focus();
  });
  if (!("DecompressionStream" in globalThis)) {
    document.getElementById("loading").textContent =
      "This browser cannot unpack the page. One of 2023 or later can; " +
      "bench leaderboard --output board.html writes the table alone.";
    return;
  }
  const store = new Store(await unpack(document.getElementById("packed-board").textContent));
  addEventListener("hashchange", () => route(store, false));
  await route(store, true);
}

start();
