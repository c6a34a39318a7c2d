// One run: what it was, what came out, and the command that repeats it.

const SELECTIONS = {
  "own-loss": "own loss (no labels)",
  last: "last epoch (no labels)",
  oracle: "oracle (chosen with labels, never ranked)",
};

async function runView(store, folder) {
  const run = store.runByFolder.get(folder);
  if (!run) return lost(`There is no run ${folder} in this page.`);
  const [basics, details] = await Promise.all([store.basics(run), store.details(run)]);
  const setting = store.settings[run.setting];
  return [
    make(
      "p",
      { class: "path" },
      setting
        ? make("a", { href: `#/setting/${setting.id}` }, `all seeds of ${nameOf(setting)} on ${setting.dataset}`)
        : make("a", { href: "#/runs" }, "all runs"),
    ),
    make("h1", { tabindex: "-1" }, `${run.method} on ${run.dataset}, seed ${run.seed}`),
    facts(runFacts(run, basics)),
    basics.error
      ? section(
          "Error",
          make("p", {}, `${basics.error.type}: ${basics.error.message}`),
          make("pre", { tabindex: "0", "aria-label": "Traceback" }, basics.error.traceback ?? ""),
        )
      : null,
    section(
      "Repeat it",
      command(basics.repeat),
      make("p", { class: "hint" }, "The same trial: it is run only if its record is not there; --force runs it again."),
      basics.typed ? make("p", { class: "hint" }, "It was started by ", make("code", {}, basics.typed)) : null,
    ),
    section("Scores", selectionTable(store, basics.metrics)),
    basics.notices.length ? section("Notices", list(basics.notices.map(noticeText))) : null,
    ...predictions(store, run, details),
    section("Configuration", ...configuration(basics)),
    section("Provenance", tree(basics.provenance, "Provenance")),
  ].filter(Boolean);
}

function runFacts(run, basics) {
  const [done, planned] = basics.progress;
  return [
    ["Status", basics.stopReason ? `${run.status}: ${basics.stopReason}` : run.status],
    ["Laboratory", basics.origin?.lab],
    ["Budget", run.budget],
    ["Protocol", run.protocol],
    ["Task", run.task],
    ["Epochs", known(planned) ? `${done} of ${planned}` : String(done)],
    ["Clusters asked for", basics.spec.n_clusters],
    ["Time", duration(basics.cost.total_seconds)],
    ["Of it training", duration(basics.cost.train_seconds)],
    ["Images seen", count(basics.cost.images)],
    ["Energy", known(basics.cost.energy_joules) ? `${count(basics.cost.energy_joules)} J` : null],
    ["Taken from other trials", basics.cost.reused?.join(", ")],
    ["Resumed", basics.cost.resumed ? `${basics.cost.resumed} times` : null],
    ["Clusters became classes by", basics.mapping && `${basics.mapping.kind}, on ${(basics.mapping.on ?? []).join(" and ")}`],
    ["Started", basics.created.slice(0, 16).replace("T", " ") + " UTC"],
    ["Record", run.folder],
  ];
}

function noticeText(notice) {
  return typeof notice === "string" ? notice : Object.values(notice).join(": ");
}

function selectionTable(store, metrics) {
  const names = Object.entries(store.metrics).filter(([metric]) =>
    Object.values(metrics).some((scores) => known(scores[metric])),
  );
  const rows = Object.entries(SELECTIONS)
    .filter(([selection]) => metrics[selection])
    .map(([selection, text]) => {
      const scores = metrics[selection];
      const others = [scores.clusters_used, scores.epoch, scores.head].map((value) => String(value ?? NONE));
      return [[text, headsText(scores)], ...names.map(([metric]) => percent(scores[metric])), ...others];
    });
  if (!rows.length) return make("p", {}, "It ended before anything was scored.");
  return plainTable({
    label: "Scores",
    told: "In %, by how epoch and sub-head were chosen.",
    rows,
    numbersFrom: 1,
    titles: ["Selection", ...names.map(([, name]) => name), "Clusters used", "Epoch", "Sub-head"],
  });
}

function headsText(scores) {
  if (!(scores.heads > 1) || !known(scores.headsMean)) return null;
  return make("small", {}, `${scores.heads} sub-heads: ACC ${percent(scores.headsMean)} ± ${percent(scores.headsStd)}`);
}

function configuration(basics) {
  const changed = Object.entries(basics.changed).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return [
    changed.length ? make("p", {}, `Changed against the preset: ${changed.join(", ")}`) : null,
    tree(basics.config, "Configuration"),
  ].filter(Boolean);
}

// A mapping as a table of dotted names and values.
function tree(content, label) {
  const rows = leaves(content);
  return make(
    "details",
    { open: rows.length < 24 },
    make("summary", {}, plural(rows.length, "value")),
    plainTable({ label, told: `${label}, by dotted name`, titles: ["Name", "Value"], rows, look: "plain values" }),
  );
}

function leaves(content, prefix = "") {
  return Object.entries(content).flatMap(([name, value]) => {
    const dotted = prefix ? `${prefix}.${name}` : name;
    if (value && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length) return leaves(value, dotted);
    return [[dotted, typeof value === "string" ? value : JSON.stringify(value)]];
  });
}
