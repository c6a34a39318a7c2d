// Elements and numbers. Text only ever enters the page as text nodes and attributes, so no name can become markup.

const NONE = "–";

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "css") Object.entries(value).forEach((each) => element.style.setProperty(...each));
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function known(value) {
  return value !== null && value !== undefined;
}

function percent(share) {
  return known(share) ? (100 * share).toFixed(1) : NONE;
}

function points(share) {
  if (!known(share)) return NONE;
  const text = (100 * share).toFixed(1);
  return Number(text) > 0 ? `+${text}` : text.replace("-", "−");
}

function meanAndSpread(score) {
  if (!score) return NONE;
  return known(score.std) ? `${percent(score.mean)} ± ${percent(score.std)}` : percent(score.mean);
}

function range(low, high) {
  return low === high ? String(low) : `${low}–${high}`;
}

function duration(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 0.095) return `${(1000 * seconds).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  if (seconds < 5970) return `${Math.round(seconds / 60)} min`;
  return seconds < 359_000 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86_400)} d`;
}

function count(number) {
  if (!known(number)) return NONE;
  return number >= 1e6 ? `${(number / 1e6).toFixed(1)} M` : Math.round(number).toLocaleString("en");
}

function plural(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

function say(text) {
  document.getElementById("said").textContent = text;
}

function facts(pairs) {
  const shown = pairs.filter(([, value]) => known(value) && value !== "");
  return make(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
}

function list(texts) {
  return make(
    "ul",
    {},
    texts.map((text) => make("li", {}, text)),
  );
}

function caption(...content) {
  return make("caption", {}, make("span", { class: "words" }, content));
}

// A table whose rows are not sorted. titles: texts of the heads; rows: lists of cells, the first one the head of its row;
// from `numbersFrom` on they are numbers.
function plainTable({ label, told, titles, rows, numbersFrom = Infinity, look = "plain" }) {
  const kind = (at) => (at >= numbersFrom ? "number" : null);
  return scrolling(
    label,
    make(
      "table",
      { class: look },
      caption(told),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          titles.map((title, at) => make("th", { scope: "col", class: kind(at) }, title)),
        ),
      ),
      make(
        "tbody",
        {},
        rows.map((cells) =>
          make(
            "tr",
            {},
            cells.map((cell, at) => (at ? make("td", { class: kind(at) }, cell) : make("th", { scope: "row" }, cell))),
          ),
        ),
      ),
    ),
  );
}

function section(title, ...content) {
  return make("section", {}, make("h2", {}, title), ...content);
}

function labelled(label, field) {
  return make("label", { class: "field" }, make("span", {}, label), field);
}

function choice(options, chosen, onchange, attributes = {}) {
  const field = make(
    "select",
    { ...attributes, onchange: () => onchange(field.value) },
    options.map(([value, text]) => make("option", { value, selected: value === chosen }, text)),
  );
  return field;
}

function scrolling(label, ...content) {
  return make("div", { class: "scrolling", role: "region", "aria-label": label, tabindex: "0" }, ...content);
}

function command(text) {
  const button = make("button", { type: "button", class: "copy", onclick: () => copy(text, button) }, "Copy");
  return make(
    "div",
    { class: "command" },
    make("pre", { tabindex: "0", "aria-label": "Command" }, make("code", {}, text)),
    button,
  );
}

async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copyBySelection(text); // a browser that gives files from disk no clipboard
  }
  button.textContent = done ? "Copied" : "Select and copy by hand";
  say(done ? "Command copied" : "The browser did not allow copying");
  setTimeout(() => {
    button.textContent = "Copy";
  }, 2500);
}

function copyBySelection(text) {
  const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
