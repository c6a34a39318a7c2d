// One setting: what its seeds say together, and where they lie.

function settingView(store, id) {
  const setting = store.settingById.get(id);
  if (!setting) return lost(`There is no setting ${id} in this page.`);
  const seeds = setting.runs.map((run) => run.seed).join(", ");
  return [
    make("p", { class: "path" }, make("a", { href: boardLink(setting) }, `${setting.dataset}, protocol ${setting.protocol}`)),
    make("h1", { tabindex: "-1" }, `${setting.method} on ${setting.dataset}`),
    facts([
      ["Budget", setting.budget],
      ["Changed settings", setting.changed.join(", ")],
      ["Protocol", setting.protocol],
      ["Task", setting.task],
      ["Seeds", `${setting.n} (${seeds})`],
      ["Tier by ACC", tierText(setting)],
      ["Points an oracle would add", known(setting.gap) ? points(setting.gap) : null],
      ["Collapsed", setting.collapsed ? `${setting.collapsed} of ${setting.n} seeds` : `none of ${setting.n} seeds`],
      ["Time a seed", costText(setting.cost.total_seconds, duration)],
      ["Images seen a seed", costText(setting.cost.images, count)],
      ["Measured on", setting.hardware.join("; ")],
    ]),
    section("Scores", setting.labelled ? scoresTable(store, setting) : withoutLabels(setting)),
    setting.published.length
      ? section("Published", make("p", {}, "In %, as the sources print them."), list(setting.published))
      : null,
    setting.notes.length ? section("What to know beside the mean", list(setting.notes)) : null,
    section("Runs", seedsTable(store, setting)),
    seedCurves(store, setting),
  ].filter(Boolean);
}

function boardLink(setting) {
  return `#/?${new URLSearchParams({ dataset: setting.dataset, protocol: setting.protocol })}`;
}

function tierText(setting) {
  const score = setting.scores.acc;
  if (!score) return null;
  if (!known(score.tier)) return `none: ${setting.whyNot || "no claim"}`;
  return `${score.tier} (rank ${range(...score.rank)})`;
}

function costText(cost, text) {
  if (!cost) return null;
  return cost[2] > cost[1] ? `${text(cost[0])} (${text(cost[1])} to ${text(cost[2])})` : text(cost[0]);
}

function scoresTable(store, setting) {
  const rows = Object.entries(store.metrics)
    .filter(([metric]) => setting.scores[metric])
    .map(([metric, name]) => {
      const score = setting.scores[metric];
      const interval = known(score.low) ? `${percent(score.low)}–${percent(score.high)}` : NONE;
      return [name, meanAndSpread(score), interval, known(score.tier) ? String(score.tier) : NONE];
    });
  const others = {
    "best seed, which labels find": setting.best,
    "last epoch": setting.last,
    "oracle choice of epoch and sub-head": setting.oracle,
  };
  const told = Object.entries(others)
    .filter(([, value]) => known(value))
    .map(([name, value]) => `${name} ${percent(value)}`);
  return [
    plainTable({
      label: "Scores",
      told: "For the choice by the method's own loss, which labels have no part in.",
      titles: ["Metric", "Mean ± sd, %", "95 % interval", "Tier"],
      rows,
      numbersFrom: 1,
    }),
    told.length ? make("p", {}, `ACC, for comparison only: ${told.join("; ")}.`) : null,
  ];
}

function withoutLabels(setting) {
  const value = (found) => (found ? `${found[0].toFixed(2)}${known(found[1]) ? ` ± ${found[1].toFixed(2)}` : ""}` : null);
  return [
    make("p", {}, "This data has no labels, so there is no accuracy. What can be said without them:"),
    facts([
      ["Stability: agreement (ARI) of the seeds", value(setting.stability) ?? "not known: two seeds with kept labels are needed"],
      ["Confidence in the own cluster", value(setting.confidence)],
      ["Silhouette", value(setting.silhouette)],
      ["Clusters used", known(setting.used) ? `${Number(setting.used.toPrecision(3))} of ${setting.clusters}` : null],
    ]),
  ];
}

function seedsTable(store, setting) {
  const table = new DataTable({
    told: "The seeds of this setting.",
    label: "Seeds",
    columns: runColumns(store, setting.runs).filter((column) => column.key !== "dataset"),
    sort: "folder",
  });
  table.show(setting.runs);
  return table.element;
}

function seedCurves(store, setting) {
  const place = section("Curves", make("p", {}, "Unpacking …"));
  const there = setting.runs.filter((run) => store.hasDetails(run));
  Promise.all(there.map(async (run) => [run, (await store.details(run)).curve])).then((found) => {
    const drawn = found.filter(([, curve]) => curve && curve.acc.some(known));
    if (!drawn.length) return place.remove();
    const series = drawn.map(([run, curve]) => ({
      name: `seed ${run.seed}`,
      xs: curve.epoch,
      ys: curve.acc,
      href: runLink(run),
    }));
    const left = setting.runs.length - there.length;
    place.replaceChildren(
      make("h2", {}, "ACC by epoch"),
      make(
        "figure",
        {},
        epochChart(series, "ACC"),
        make("figcaption", {}, "The sub-head that the own loss prefers in each epoch.", left ? ` ${leftOut(left)}` : ""),
      ),
    );
  });
  return place;
}

function leftOut(runs) {
  return (
    `Curves, confusion matrices and clusters of ${plural(runs, "run")} are left out, as the page would become too large or too ` +
    "slow to make; bench leaderboard --html with --dataset and --method makes one that has them."
  );
}

function lost(text) {
  return [
    make("h1", { tabindex: "-1" }, "Not in this page"),
    make("p", {}, text),
    make("p", {}, make("a", { href: "#/" }, "To the leaderboard")),
  ];
}
