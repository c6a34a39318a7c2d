// Accuracy against cost: a mark for each setting with its error bars, and the line of those that nothing beats in both.

// points: {name, x, xLow, xHigh, y, low, high, href, says}; x > 0. Returns the settings on the front, cheapest first.
function paretoFront(points) {
  const cheapestFirst = [...points].sort((a, b) => a.x - b.x || b.y - a.y);
  let best = -Infinity;
  return cheapestFirst.filter((point) => point.y > best && ((best = point.y), true));
}

function scatter(points, { xName, yName, xText, times, label }) {
  const front = paretoFront(points);
  const look = looks(points.map((point) => point.name));
  return responsive((width) => paintScatter(width, points, front, look, { xName, yName, xText, times, label }));
}

// A shape and a colour for each name, in the order they come; both repeat after eight, the shape one place later.
function looks(names) {
  const unique = [...new Set(names)];
  return new Map(
    unique.map((name, at) => {
      const turn = Math.floor(at / COLOURS);
      return [
        name,
        { colour: at % COLOURS, shape: SHAPES[(at + turn) % SHAPES.length], dash: DASHES[(at + turn) % DASHES.length] },
      ];
    }),
  );
}

function paintScatter(width, points, front, look, told) {
  const height = Math.max(280, Math.min(420, width * 0.62));
  const frame = { left: 44, right: width - 14, top: 34, bottom: height - 46 };
  const lows = points.map((point) => Math.min(point.y, point.low ?? point.y));
  const highs = points.map((point) => Math.max(point.y, point.high ?? point.y));
  const [low, high] = padded(Math.min(...lows), Math.max(...highs), 0.06);
  const cheapest = Math.min(...points.map((point) => point.xLow)) / 1.6;
  const dearest = Math.max(...points.map((point) => point.xHigh)) * 1.6;
  const x = logarithmic(cheapest, dearest, frame.left, frame.right);
  const y = linear(low, high, frame.bottom, frame.top);
  const ticks = thinned(logTicks(cheapest, dearest, told.times), x, 56);
  const onFront = new Set(front);
  return svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": told.label },
    axes({
      x,
      y,
      frame,
      xTicks: ticks,
      yTicks: niceTicks(low, high),
      xText: told.xText,
      yText: (share) => (100 * share).toFixed(0),
      xName: `${told.xName} (logarithmic)`,
      yName: `${told.yName} (%)`,
    }),
    svg("path", { class: "front", "aria-hidden": "true", d: steps(front, x, y, frame.right) }),
    points.map((point) => scatterMark(point, x, y, look.get(point.name), onFront.has(point))),
    names(points, onFront, x, y, frame),
  );
}

function padded(low, high, share) {
  const room = (high - low || 0.02) * share;
  return [Math.max(0, low - room), Math.min(1, high + room)];
}

function thinned(ticks, x, room) {
  let last = -Infinity;
  return ticks.filter((tick) => x(tick) - last >= room && ((last = x(tick)), true));
}

// From one setting of the front to the next: nothing dearer is better until it is reached.
function steps(front, x, y, right) {
  const path = front.map((point, at) => (at ? `H${x(point.x)}V${y(point.y)}` : `M${x(point.x)},${y(point.y)}`));
  return `${path.join("")}H${right}`;
}

function scatterMark(point, x, y, look, onFront) {
  const [cx, cy] = [x(point.x), y(point.y)];
  return svg(
    "a",
    { href: point.href, class: `mark c${look.colour}${onFront ? " on-front" : ""}`, "aria-label": point.says },
    svg("title", {}, point.says),
    known(point.low) ? svg("line", { class: "error", x1: cx, x2: cx, y1: y(point.low), y2: y(point.high) }) : null,
    point.xHigh > point.xLow ? svg("line", { class: "error", x1: x(point.xLow), x2: x(point.xHigh), y1: cy, y2: cy }) : null,
    svg("circle", { class: "reach", cx, cy, r: 14 }),
    marker(look.shape, cx, cy, 6, { class: "shape" }),
  );
}

// Names beside the marks, those of the front first; one that would lie over another name or mark is left to the table below.
function names(points, onFront, x, y, frame) {
  const taken = points.map((point) => box(x(point.x) - 7, y(point.y) - 7, 14, 14));
  const order = [...points].sort((a, b) => onFront.has(b) - onFront.has(a) || b.y - a.y);
  const placed = [];
  for (const point of order) {
    const wide = point.short.length * 7.2 + 4;
    const [cx, cy] = [x(point.x), y(point.y)];
    const places = [
      [cx + 10, cy - 14],
      [cx - 10 - wide, cy - 14],
      [cx + 10, cy],
      [cx - 10 - wide, cy],
      [cx - wide / 2, cy - 26],
      [cx - wide / 2, cy + 10],
    ];
    const free = places
      .map(([left, top]) => box(left, top, wide, 15))
      .find(
        (each) =>
          each.left >= frame.left &&
          each.right <= frame.right + 10 &&
          each.top >= 0 &&
          each.bottom <= frame.bottom &&
          !taken.some((other) => overlap(each, other)),
      );
    if (!free) continue;
    taken.push(free);
    placed.push(
      svg("text", { x: free.left + 2, y: free.bottom - 3, class: onFront.has(point) ? "label strong" : "label" }, point.short),
    );
  }
  return svg("g", { "aria-hidden": "true" }, placed);
}

function box(left, top, width, height) {
  return { left, top, right: left + width, bottom: top + height };
}

function overlap(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
