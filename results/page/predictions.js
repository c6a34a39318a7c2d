// What a run's predictions show: curves, confusion, clusters with their images.

function predictions(store, run, details) {
  if (!details) return [section("Curves and clusters", make("p", {}, leftOut(1)), medianLink(store, run))];
  return [
    details.curve ? curveSection(details.curve) : null,
    details.confusion ? confusionSection(details.confusion) : null,
    details.clusters ? clusterSection(details.clusters) : null,
    details.lacking.length ? section("Not shown", list(details.lacking)) : null,
  ];
}

function medianLink(store, run) {
  const setting = store.settings[run.setting];
  if (!setting || !store.hasDetails(store.medianOf(setting))) return null;
  return make("p", {}, make("a", { href: runLink(store.medianOf(setting)) }, "The seed with the median accuracy has them."));
}

function curveSection(curve) {
  const share = (value) => (100 * value).toFixed(0);
  const charts = [];
  if (curve.acc.some(known)) {
    const scores = [
      { name: "ACC of the chosen sub-head", xs: curve.epoch, ys: curve.acc, low: curve.low, high: curve.high },
      { name: "NMI", xs: curve.epoch, ys: curve.nmi },
    ].filter((each) => each.ys.some(known));
    const several = curve.low.some((low, at) => low !== curve.high[at]);
    charts.push(
      make(
        "figure",
        {},
        lineChart(scores, { yName: "%", yText: share, label: "ACC and NMI by epoch" }),
        make(
          "figcaption",
          {},
          curveText("ACC", curve.acc, percent),
          several ? " Shaded: from the worst to the best sub-head." : "",
        ),
      ),
    );
  }
  if (curve.criterion.some(known)) {
    const loss = [{ name: "own loss", xs: curve.epoch, ys: curve.criterion }];
    const floor = known(curve.floor) ? { value: curve.floor, name: "lowest possible" } : null;
    const yText = (value) => String(Number(value.toPrecision(3)));
    charts.push(
      make(
        "figure",
        {},
        lineChart(loss, { yName: "own loss (chooses epoch and sub-head)", yText, label: "Own loss by epoch", floor }),
        make(
          "figcaption",
          {},
          curveText("The own loss", curve.criterion, (value) => value.toPrecision(4)),
        ),
      ),
    );
  }
  return charts.length ? section("Curves by epoch", make("div", { class: "pair" }, charts)) : null;
}

function curveText(name, values, text) {
  const there = values.filter(known);
  return `${name} goes from ${text(there[0])} to ${text(there.at(-1))}.`;
}

function confusionSection({ names, matrix, pairs }) {
  if (pairs) return section("Most often mistaken", mistakenTable(names, pairs));
  const given = matrix[0].length > names.length ? [...names, "no class"] : names;
  const rows = matrix.map((row, at) => {
    const all = row.reduce((sum, value) => sum + value, 0) || 1;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, names[at]),
      row.map((value) => confusionCell(value, all)),
    );
  });
  return section(
    "Confusion",
    scrolling(
      "Confusion matrix",
      make(
        "table",
        { class: "confusion" },
        caption(
          "Rows: the true class. Columns: the class that the cluster stands for. Cells: % of the row's class; point at one for " +
            "the count.",
        ),
        make(
          "thead",
          {},
          make(
            "tr",
            {},
            make("td", {}),
            given.map((name) => make("th", { scope: "col" }, name)),
          ),
        ),
        make("tbody", {}, rows),
      ),
    ),
  );
}

function mistakenTable(names, pairs) {
  const told = `Of ${names.length} classes, the pairs with most images of one class in a cluster that stands for the other.`;
  const rows = pairs.map(([name, given, wrong, all]) => [`${name} as ${given}`, count(wrong), percent(wrong / all)]);
  return plainTable({
    label: "Most often mistaken",
    told,
    titles: ["Class, as which", "Images", "% of the class"],
    rows,
    numbersFrom: 1,
  });
}

function confusionCell(value, all) {
  const share = value / all;
  const text = share >= 0.005 ? (100 * share).toFixed(0) : value ? "<1" : make("span", { class: "unseen" }, "0");
  return make("td", { css: { "--share": share.toFixed(3) }, title: plural(value, "image") }, text);
}

function clusterSection(clusters) {
  if (clusters.some((cluster) => cluster.picture)) {
    return section(
      "Clusters",
      make("p", { class: "hint" }, "Images were drawn at random from each cluster; nothing was picked by hand."),
      make(
        "ul",
        { class: "clusters" },
        clusters.map((cluster, number) =>
          make(
            "li",
            {},
            clusterText(cluster, number),
            cluster.picture ? make("img", { class: "strip", src: cluster.picture, alt: stripText(cluster, number) }) : null,
          ),
        ),
      ),
    );
  }
  const named = clusters.some((cluster) => known(cluster.share));
  const rows = clusters.map((cluster, number) => [
    `cluster ${number}`,
    count(cluster.size),
    ...(named ? [cluster.name || "no class", mostly(cluster)] : []),
  ]);
  return section(
    "Clusters",
    plainTable({
      label: "Clusters",
      told: "What is in each cluster.",
      rows,
      numbersFrom: 1,
      titles: ["Cluster", "Size", ...(named ? ["Stands for", "Mostly"] : [])],
    }),
  );
}

function clusterText(cluster, number) {
  const stands = known(cluster.share) ? ` stands for ${cluster.name || "no class"}` : "";
  const inside = known(cluster.share) ? `, mostly ${mostly(cluster)}` : "";
  return make(
    "p",
    {},
    make("strong", {}, `Cluster ${number}`),
    stands,
    make("small", {}, `${count(cluster.size)} in it${inside}`),
  );
}

function mostly(cluster) {
  return known(cluster.share) ? `${cluster.mostly} (${percent(cluster.share)} %)` : NONE;
}

function stripText(cluster, number) {
  const mostly = known(cluster.share) ? `, ${percent(cluster.share)} % of which are of class ${cluster.mostly}` : "";
  return `Images of cluster ${number}${mostly}`;
}
