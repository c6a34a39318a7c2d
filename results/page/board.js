// The first view: settings in tiers, accuracy against cost, and curves, for what the filters leave.

const FILTERS = { task: "Task", dataset: "Data set", protocol: "Protocol", budget: "Budget", method: "Method" };
const COST_NAMES = { total_seconds: "time a seed", train_seconds: "training time a seed", images: "images seen a seed" };
const MOST_CURVES = 8;

function boardView(store, asked) {
  const defaults = { dataset: store.contests[0]?.dataset ?? "", metric: "acc", cost: "total_seconds", sort: "place" };
  const state = { task: "", protocol: "", budget: "", method: "", ...defaults, ...Object.fromEntries(asked) };
  const results = make("div");
  const keep = () => remember("#/", state, defaults);
  const draw = () => results.replaceChildren(...boardResults(store, state, keep, draw));
  const changed = () => {
    keep();
    draw();
  };
  const filters = filterForm(state, store.settings, changed);
  const metrics = metricsOf(store);
  if (!metrics.some(([key]) => key === state.metric)) state.metric = "acc";
  const choose = (value) => {
    state.metric = value;
    changed();
  };
  filters.append(labelled("Metric", choice(metrics, state.metric, choose, { id: "metric" })));
  draw();
  return [make("h1", { tabindex: "-1" }, "Leaderboard"), make("p", { class: "lead" }, summary(store)), filters, results];
}

function metricsOf(store) {
  return Object.entries(store.metrics).filter(([key]) => store.settings.some((setting) => setting.scores[key]));
}

function summary(store) {
  const failed = store.all.filter((run) => run.status === "failed").length;
  const parts = [
    plural(store.all.length, "run"),
    plural(store.settings.length, "setting"),
    plural(store.contests.length, "ranking"),
  ];
  const made = `Made ${store.made.slice(0, 10)} by clusterbench ${store.version}.`;
  return `${parts.join(", ")}; ${failed ? `${failed} failed` : "none failed"}. ${made}`;
}

// The form of all filters; `state` holds their values, "" for all. Options that no row has any more are not offered.
function filterForm(state, rows, onchange) {
  const form = make("form", { class: "filters", "aria-label": "Filters", onsubmit: (event) => event.preventDefault() });
  for (const [name, title] of Object.entries(FILTERS)) {
    const values = [...new Set(rows.map((row) => row[name]))].sort(compare);
    if (state[name] && !values.includes(state[name])) state[name] = "";
    const options = [["", "all"], ...values.map((value) => [value, value])];
    form.append(
      labelled(
        title,
        choice(
          options,
          state[name],
          (value) => {
            state[name] = value;
            onchange();
          },
          { id: name },
        ),
      ),
    );
  }
  return form;
}

function matching(state, rows) {
  return rows.filter((row) => Object.keys(FILTERS).every((name) => !state[name] || row[name] === state[name]));
}

function boardResults(store, state, keep, again) {
  const settings = matching(state, store.settings);
  const contests = [...new Set(settings.map((setting) => setting.contest))];
  const labelledOnes = settings.filter((setting) => setting.scores[state.metric]);
  say(`${plural(settings.length, "setting")} shown`);
  const table = boardTable(store, state, contests.length > 1, keep);
  table.show(settings);
  return [
    table.element,
    seedsNote(settings, state.metric),
    contests.length === 1 && labelledOnes.length
      ? [costSection(store, labelledOnes, state, keep, again), curvesSection(store, labelledOnes, state.metric)]
      : contests.length > 1
        ? make(
            "p",
            { class: "hint" },
            "Choose one data set and one protocol to see accuracy against cost, and " +
              "curves: what was measured on different images is not drawn together.",
          )
        : null,
  ]
    .flat()
    .filter(Boolean);
}
