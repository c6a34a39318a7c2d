// What stands under the table of settings: how many more seeds would tell neighbours apart, cost, and curves.

const SHOWN_NOTES = 4;

function seedsNote(settings, metric) {
  const lines = [];
  const few = settings.filter((setting) => setting.scores[metric] && !known(setting.scores[metric].tier));
  const byContest = new Map();
  for (const setting of settings) {
    if (!known(setting.scores[metric]?.tier)) continue;
    byContest.set(setting.contest, [...(byContest.get(setting.contest) ?? []), setting]);
  }
  for (const ranked of byContest.values()) {
    ranked.sort((a, b) => b.scores[metric].mean - a.scores[metric].mean);
    ranked.forEach((setting, at) => lines.push(lacking(setting, ranked[at - 1], metric)));
  }
  const told = lines.filter(Boolean);
  const reasons = [...new Set(few.map((setting) => setting.whyNot).filter(Boolean))].join("; ") || "no claim";
  if (few.length) told.push(`${plural(few.length, "setting")} without a tier: ${reasons}.`);
  if (!told.length) return null;
  return make(
    "details",
    { class: "seeds", open: told.length <= SHOWN_NOTES },
    make("summary", {}, "What more seeds would tell"),
    list(told),
  );
}

// `Placed.more_seeds` is about the setting before it in the order of the means.
function lacking(setting, before, metric) {
  const { more } = setting.scores[metric];
  if (!before || more === 0 || more === undefined) return null;
  const both = `${nameOf(before)} and ${nameOf(setting)}`;
  if (known(more)) return `${both}: about ${plural(more, "more seed")} of each would likely tell them apart.`;
  return `${both}: more than 1,000 more seeds would be needed, or nothing differs.`;
}

function nameOf(setting) {
  return `${setting.method} (${[setting.budget, ...changesOf(setting)].join(", ")})`;
}

// What was changed against the preset, in a few words; all of it stands on the setting's page.
function changesOf(setting) {
  return setting.changed.length > 1 ? [`${setting.changed.length} settings changed`] : setting.changed;
}

function costSection(store, settings, state, keep, again) {
  const name = COST_NAMES[state.cost] ?? COST_NAMES.total_seconds;
  const times = state.cost !== "images";
  const text = times ? duration : count;
  const marks = settings.filter((setting) => setting.cost[state.cost]?.[1] > 0).map((setting) => costMark(setting, state, text));
  const field = labelled(
    "Cost",
    choice(
      Object.entries(COST_NAMES),
      state.cost,
      (value) => {
        state.cost = value;
        keep();
        again();
        document.getElementById("cost").focus();
      },
      { id: "cost" },
    ),
  );
  const machines = [...new Set(settings.flatMap((setting) => setting.hardware))];
  const front = paretoFront(marks);
  const metric = store.metrics[state.metric];
  if (!marks.length) return section(`${metric} against cost`, field, make("p", {}, "No costs are on record."));
  const label = `${metric} against ${name}, ${plural(marks.length, "setting")}`;
  const listed = front.map((mark) => `${mark.name}, ${mark.costs}, ${percent(mark.y)}`).join("; ");
  return section(
    `${metric} against cost`,
    field,
    make(
      "figure",
      {},
      scatter(marks, { xName: name, yName: metric, xText: text, times, label }),
      make(
        "figcaption",
        {},
        `On the Pareto front, where nothing cheaper is as good: ${listed}. `,
        "Bars: 95 % interval of the mean, and lowest to highest cost of a seed. ",
        times ? machinesText(machines) : null,
      ),
    ),
  );
}

function machinesText(machines) {
  if (machines.length === 1) return `All on ${machines[0]}.`;
  return make("strong", {}, `Times come from different machines: ${machines.join("; ")}.`);
}

function costMark(setting, state, text) {
  const score = setting.scores[state.metric];
  const [x, xLow, xHigh] = setting.cost[state.cost];
  const says = `${nameOf(setting)}: ${meanAndSpread(score)} %, ${text(x)}, ${plural(setting.n, "seed")}`;
  return {
    name: nameOf(setting),
    short: setting.method,
    x,
    xLow,
    xHigh,
    y: score.mean,
    low: score.low,
    high: score.high,
    href: `#/setting/${setting.id}`,
    says,
    costs: text(x),
  };
}

function curvesSection(store, settings, metric) {
  const key = metric === "nmi" ? "nmi" : "acc";
  const best = [...settings].sort((a, b) => placeOf(a, metric) - placeOf(b, metric));
  const runs = best.map((setting) => [setting, store.medianOf(setting)]).filter(([, run]) => store.hasDetails(run));
  const place = section("Curves", make("p", {}, "Unpacking …"));
  const read = async ([setting, run]) => [setting, run, (await store.details(run)).curve];
  Promise.all(runs.slice(0, 4 * MOST_CURVES).map(read)).then((found) => {
    const able = found.filter(([, , curve]) => curve && curve[key].some(known));
    const series = able
      .slice(0, MOST_CURVES)
      .map(([setting, run, curve]) => ({ name: nameOf(setting), xs: curve.epoch, ys: curve[key], href: runLink(run) }));
    const which =
      able.length > series.length ? `the first ${series.length} settings that have epochs` : "each setting that has epochs";
    place.replaceChildren(
      make("h2", {}, `${store.metrics[key]} by epoch`),
      series.length
        ? make(
            "figure",
            {},
            epochChart(series, store.metrics[key]),
            make("figcaption", {}, `The seed with the median accuracy of ${which}, its chosen sub-head.`),
          )
        : make("p", {}, "None of these settings has epochs on record."),
    );
  });
  return place;
}

function epochChart(series, metric) {
  const label = `${metric} by epoch of ${series.map((each) => each.name).join(", ")}`;
  return lineChart(series, { yName: `${metric} (%)`, yText: (share) => (100 * share).toFixed(0), label });
}
