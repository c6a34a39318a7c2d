// The table of settings: its columns, and what stands in their cells.

function boardTable(store, state, several, keep) {
  const name = store.metrics[state.metric];
  const score = (setting) => setting.scores[state.metric];
  const interval = intervalScale(store.settings, state);
  const columns = [
    {
      key: "place",
      title: "Tier",
      label: "tier: those that cannot be told apart share one",
      value: (setting) => placeOf(setting, state.metric),
      cell: (setting) => tierBadge(score(setting)),
    },
    { key: "method", title: "Method", label: "method", heads: true, cell: methodCell, value: (setting) => setting.method },
    several && {
      key: "dataset",
      title: "Data set",
      label: "data set and protocol",
      value: (setting) => `${setting.dataset} ${setting.protocol}`,
      cell: (setting) => [setting.dataset, make("small", {}, `protocol ${setting.protocol}`)],
    },
    {
      key: "score",
      title: `${name} %`,
      label: `${name}, mean and standard deviation over seeds`,
      number: true,
      first: "descending",
      value: (setting) => score(setting)?.mean,
      cell: (setting) => meanAndSpread(score(setting)),
    },
    {
      key: "interval",
      title: "95 % interval",
      label: "bootstrap interval of the mean",
      number: true,
      wide: true,
      first: "descending",
      value: (setting) => score(setting)?.low,
      cell: (setting) => intervalCell(score(setting), interval),
    },
    {
      key: "rank",
      title: "Rank",
      label: "interval of the rank",
      number: true,
      wide: true,
      value: (setting) => score(setting)?.rank?.[0],
      cell: (setting) => (known(score(setting)?.rank?.[0]) ? range(...score(setting).rank) : NONE),
    },
    {
      key: "n",
      title: "Seeds",
      label: "number of seeds",
      number: true,
      first: "descending",
      value: (setting) => setting.n,
      cell: (setting) => String(setting.n),
    },
    {
      key: "gap",
      title: "Gap",
      label: "points of ACC that a choice by labels would add",
      number: true,
      wide: true,
      first: "descending",
      value: (setting) => setting.gap,
      cell: (setting) => points(setting.gap),
    },
    {
      key: "time",
      title: "Time",
      label: "mean time of a seed",
      number: true,
      value: (setting) => setting.cost.total_seconds?.[0],
      cell: (setting) => duration(setting.cost.total_seconds?.[0]),
    },
    {
      key: "used",
      title: "Clusters",
      label: "clusters used, of those asked for",
      number: true,
      wide: true,
      first: "descending",
      value: (setting) => setting.used,
      cell: clustersCell,
    },
    ...(store.settings.some((setting) => setting.stability)
      ? [
          {
            key: "stability",
            title: "Stability",
            number: true,
            wide: true,
            label: "agreement of the seeds (ARI), where there are no labels",
            first: "descending",
            value: (setting) => setting.stability?.[0],
            cell: (setting) => (setting.stability ? setting.stability[0].toFixed(2) : NONE),
          },
        ]
      : []),
  ].filter(Boolean);
  const contest = [state.dataset, state.protocol && `protocol ${state.protocol}`].filter(Boolean).join(", ") || "all data sets";
  return new DataTable({
    told: [
      make("strong", {}, `${name} on ${contest}. `),
      "For the sub-head and epoch that the method's own loss prefers; labels chose nothing. ",
      make("a", { href: "#/about" }, "How to read it"),
    ],
    label: "Settings",
    columns,
    sort: state.sort,
    descending: state.descending === "1",
    onsort: (sort, descending) => {
      state.sort = sort;
      state.descending = descending ? "1" : "";
      keep();
    },
    rowClass: (setting) => (known(score(setting)?.tier) ? `tier${score(setting).tier % 2}` : "untiered"),
  });
}

// Contest by contest; settings of one stand in the order of their tiers, then of their means; those without a claim after them.
function placeOf(setting, metric) {
  const score = setting.scores[metric];
  const inContest = score ? (known(score.tier) ? score.tier : 1e6) + (1 - score.mean) / 2 : 2e6;
  return 1e8 * setting.contest + inContest;
}

function tierBadge(score) {
  if (!known(score?.tier)) return make("span", { class: "tier none" }, NONE, make("span", { class: "unseen" }, " no claim"));
  return make("span", { class: "tier" }, String(score.tier));
}

function methodCell(setting) {
  const unseen = make("span", { class: "unseen" }, " see its notes");
  const notes = setting.notes.length ? make("sup", { title: setting.notes.join("\n") }, "†", unseen) : null;
  return [
    make("a", { href: `#/setting/${setting.id}` }, setting.method),
    notes,
    make("small", {}, [setting.budget, ...changesOf(setting)].join(", ")),
  ];
}

function clustersCell(setting) {
  const used = known(setting.used) ? `${Number(setting.used.toPrecision(3))} of ${setting.clusters}` : NONE;
  return setting.collapsed ? [used, make("small", {}, `${setting.collapsed} collapsed`)] : used;
}

function intervalScale(settings, state) {
  const scores = matching(state, settings)
    .map((setting) => setting.scores[state.metric])
    .filter(Boolean);
  const ends = scores.flatMap((score) => [score.mean, score.low ?? score.mean, score.high ?? score.mean]);
  return linear(Math.min(...ends), Math.max(...ends), 4, 116);
}

function intervalCell(score, x) {
  if (!score || !known(score.low)) return NONE;
  return make(
    "span",
    { class: "interval" },
    svg(
      "svg",
      { width: 120, height: 14, "aria-hidden": "true" },
      svg("line", { x1: x(score.low), x2: x(score.high), y1: 7, y2: 7 }),
      svg("circle", { cx: x(score.mean), cy: 7, r: 3.5 }),
    ),
    make("span", {}, `${percent(score.low)}–${percent(score.high)}`),
  );
}
