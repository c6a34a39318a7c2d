// Every run on record, with what became of it.

function runsView(store, asked) {
  const state = {
    task: "",
    dataset: "",
    protocol: "",
    budget: "",
    method: "",
    status: "",
    sort: "created",
    descending: "1",
    ...Object.fromEntries(asked),
  };
  const defaults = { sort: "created", descending: "1" };
  const changed = () => {
    remember("#/runs", state, defaults);
    draw();
  };
  const filters = filterForm(state, store.all, changed);
  const statuses = [["", "all"], ...[...new Set(store.all.map((run) => run.status))].sort().map((status) => [status, status])];
  filters.append(
    labelled(
      "Status",
      choice(
        statuses,
        state.status,
        (value) => {
          state.status = value;
          changed();
        },
        { id: "status" },
      ),
    ),
  );
  const table = new DataTable({
    told: "Runs. Scores are of the sub-head and epoch that the method's own loss prefers.",
    label: "Runs",
    columns: runColumns(store, store.all),
    sort: state.sort,
    descending: state.descending === "1",
    onsort: (sort, descending) => {
      state.sort = sort;
      state.descending = descending ? "1" : "";
      remember("#/runs", state, defaults);
    },
  });
  const draw = () => {
    const shown = matching(state, store.all).filter((run) => !state.status || run.status === state.status);
    table.show(shown);
    say(`${plural(shown.length, "run")} shown`);
  };
  draw();
  const damaged = store.damaged.length ? section("Could not be read", list(store.damaged)) : null;
  return [make("h1", { tabindex: "-1" }, "Runs"), filters, table.element, damaged].filter(Boolean);
}

function runColumns(store, runs) {
  const metrics = ["acc", "nmi", "ari", "miou"].filter((metric) => runs.some((run) => known(run[metric])));
  return [
    {
      key: "folder",
      title: "Run",
      label: "run, by method and seed",
      heads: true,
      value: (run) => `${run.method} ${run.seed}`,
      cell: runCell,
    },
    {
      key: "dataset",
      title: "Data set",
      label: "data set and protocol",
      value: (run) => `${run.dataset} ${run.protocol}`,
      cell: (run) => [run.dataset, make("small", {}, `protocol ${run.protocol}`)],
    },
    ...metrics.map((metric) => ({
      key: metric,
      title: `${store.metrics[metric]} %`,
      label: store.metrics[metric],
      number: true,
      first: "descending",
      wide: metric !== "acc",
      value: (run) => run[metric],
      cell: (run) => percent(run[metric]),
    })),
    {
      key: "seconds",
      title: "Time",
      label: "time",
      number: true,
      value: (run) => run.seconds,
      cell: (run) => duration(run.seconds),
    },
    { key: "status", title: "Status", label: "status", value: (run) => run.status, cell: (run) => run.status },
    {
      key: "created",
      title: "Started",
      label: "time of the start, UTC",
      wide: true,
      first: "descending",
      value: (run) => run.created,
      cell: (run) => run.created.replace("T", " "),
    },
  ];
}

function runCell(run) {
  return [make("a", { href: runLink(run) }, `${run.method}, seed ${run.seed}`), make("small", {}, run.budget)];
}

function runLink(run) {
  return `#/run/${encodeURIComponent(run.folder)}`;
}
