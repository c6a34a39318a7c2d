// Curves by epoch: a line for each series, told apart by colour, dashes and a name at its end.

// series: {name, xs, ys, low, high (a band, optional), href}; told: {yName, yText, label, floor: {value, name} (optional)}
function lineChart(series, told) {
  const look = looks(series.map((each) => each.name));
  return make(
    "div",
    {},
    responsive((width) => paintLines(width, series, look, told)),
    legend(series, look),
  );
}

function paintLines(width, series, look, told) {
  const height = Math.max(260, Math.min(380, width * 0.55));
  const ys = series.flatMap((each) => [...each.ys, ...(each.low ?? []), ...(each.high ?? [])]).filter(known);
  if (told.floor) ys.push(told.floor.value);
  const [least, most] = [Math.min(...ys), Math.max(...ys)];
  const room = (most - least || Math.abs(most) || 1) * 0.05;
  const xs = series.flatMap((each) => each.xs);
  const frame = { left: 52, right: width - 14, top: 34, bottom: height - 46 };
  const x = linear(Math.min(...xs), Math.max(...xs), frame.left, frame.right);
  const y = linear(least - room, most + room, frame.bottom, frame.top);
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": told.label },
    axes({
      x,
      y,
      frame,
      xTicks: niceTicks(Math.min(...xs), Math.max(...xs), 6).filter(Number.isInteger),
      yTicks: niceTicks(least - room, most + room),
      xText: String,
      yText: told.yText,
      xName: "epoch",
      yName: told.yName,
    }),
    told.floor ? floorLine(told.floor.name, y(told.floor.value), frame) : null,
    series.map((each) =>
      svg(
        "g",
        { class: `c${look.get(each.name).colour}` },
        each.low ? svg("path", { class: "band", d: band(each, x, y) }) : null,
        svg("path", { class: "line", "stroke-dasharray": look.get(each.name).dash, d: path(each.xs, each.ys, x, y) }),
      ),
    ),
  );
}

function floorLine(name, y, { left, right }) {
  return svg(
    "g",
    {},
    svg("line", { class: "floor", x1: left, x2: right, y1: y, y2: y }),
    svg("text", { class: "label", x: left + 6, y: y - 6 }, name),
  );
}

// Epochs without a value are passed over, not gaps: a loss that is known in every fifth epoch is one line.
function path(xs, ys, x, y) {
  const there = xs.map((_, at) => at).filter((at) => known(ys[at]));
  const points = there.map((at) => `${x(xs[at]).toFixed(1)},${y(ys[at]).toFixed(1)}`);
  return points.length ? `M${points.join("L")}` : "";
}

function band({ xs, low, high }, x, y) {
  const there = xs.map((_, at) => at).filter((at) => known(low[at]) && known(high[at]));
  const corners = [...there.map((at) => [x(xs[at]), y(high[at])]), ...there.reverse().map((at) => [x(xs[at]), y(low[at])])];
  return corners.length ? `M${corners.map(([left, top]) => `${left.toFixed(1)},${top.toFixed(1)}`).join("L")}Z` : "";
}

function legend(series, look) {
  return make(
    "ul",
    { class: "legend" },
    series.map((each) =>
      make(
        "li",
        {},
        svg(
          "svg",
          { width: 34, height: 12, class: `c${look.get(each.name).colour}`, "aria-hidden": "true" },
          svg("path", { class: "line", d: "M1,6H33", "stroke-dasharray": look.get(each.name).dash }),
        ),
        each.href ? make("a", { href: each.href }, each.name) : each.name,
      ),
    ),
  );
}
