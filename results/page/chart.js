// What both charts share: scales, axes, marks that are told apart without colour, and drawing anew when the width changes.

const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "down", "plus", "star"];
const DASHES = ["", "7 4", "2 3", "10 3 2 3", "1 4", "12 4", "5 2 1 2", "4 6"];
const COLOURS = 8;

function linear(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

function logarithmic(low, high, from, to) {
  const scale = linear(Math.log(low), Math.log(high), from, to);
  return (value) => scale(Math.log(value));
}

function niceTicks(low, high, wanted = 5) {
  const rough = (high - low) / wanted || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
}

const TIMES = [0.001, 0.01, 0.1, 1, 10, 60, 600, 3600, 36_000, 86_400, 864_000];

function logTicks(low, high, times) {
  const all = times ? TIMES : Array.from({ length: 16 }, (_, power) => 10 ** power);
  const inside = all.filter((tick) => tick >= low && tick <= high);
  return inside.length > 1 ? inside : [low, high];
}

// Draws `paint(width)` into a box, and anew whenever the box has another width.
function responsive(paint) {
  const box = make("div", { class: "chart" });
  let drawn = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (!width || width === drawn) return;
    drawn = width;
    box.replaceChildren(paint(width));
  }).observe(box);
  return box;
}

function axes({ x, y, frame, xTicks, yTicks, xText, yText, xName, yName }) {
  const { left, right, top, bottom } = frame;
  return svg(
    "g",
    { class: "axes", "aria-hidden": "true" },
    yTicks.map((tick) => [
      svg("line", { x1: left, x2: right, y1: y(tick), y2: y(tick), class: "grid" }),
      svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, yText(tick)),
    ]),
    xTicks.map((tick) => [
      svg("line", { x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 5, class: "tick" }),
      svg("text", { x: x(tick), y: bottom + 18, "text-anchor": right - x(tick) < 12 ? "end" : "middle" }, xText(tick)),
    ]),
    svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "tick" }),
    svg("text", { x: right, y: bottom + 36, "text-anchor": "end", class: "name" }, xName),
    svg("text", { x: 0, y: top - 10, class: "name" }, yName),
  );
}

function marker(shape, x, y, size, attributes = {}) {
  if (shape === "circle") return svg("circle", { cx: x, cy: y, r: size, ...attributes });
  return svg("path", {
    d:
      outline(shape, size)
        .map(([dx, dy], at) => `${at ? "L" : "M"}${x + dx},${y + dy}`)
        .join("") + "Z",
    ...attributes,
  });
}

function outline(shape, r) {
  const turned = (corners, start, radius = () => r * 1.25) =>
    Array.from({ length: corners }, (_, at) => {
      const angle = start + (2 * Math.PI * at) / corners;
      return [radius(at) * Math.sin(angle), -radius(at) * Math.cos(angle)];
    });
  const third = r / 2.2;
  const arms = [
    [-third, -r],
    [third, -r],
    [third, -third],
    [r, -third],
    [r, third],
    [third, third],
    [third, r],
    [-third, r],
    [-third, third],
    [-r, third],
    [-r, -third],
    [-third, -third],
  ];
  const half = Math.SQRT1_2;
  return {
    square: () => [
      [-r, -r],
      [r, -r],
      [r, r],
      [-r, r],
    ],
    triangle: () => turned(3, 0),
    down: () => turned(3, Math.PI),
    diamond: () => turned(4, 0),
    plus: () => arms,
    cross: () => arms.map(([dx, dy]) => [(dx - dy) * half * 1.15, (dx + dy) * half * 1.15]),
    star: () => turned(10, 0, (at) => (at % 2 ? r * 0.6 : r * 1.4)),
  }[shape]();
}
