// A table that is sorted by its headings and shown in pages: a real <table>, its state in aria-sort and in words.

const PAGE_ROWS = 50;

// columns: {key, title, cell(row) -> nodes, value(row) -> number or text, number, wide, first: "ascending" | "descending"}
class DataTable {
  constructor({ told, label, columns, sort, descending = false, onsort = () => {}, rowClass = () => null }) {
    Object.assign(this, { columns, onsort, rowClass, sort, descending, rows: [], page: 0 });
    this.head = make("tr");
    this.body = make("tbody");
    this.caption = caption(told);
    this.pager = make("nav", { class: "pager", "aria-label": `Pages of the table: ${label}` });
    this.element = make(
      "div",
      { class: "data" },
      scrolling(label, make("table", {}, this.caption, make("thead", {}, this.head), this.body)),
      this.pager,
    );
    this.drawHead();
  }

  show(rows) {
    this.rows = [...rows];
    this.page = 0;
    this.order();
    this.draw();
  }

  order() {
    const column = this.columns.find((each) => each.key === this.sort);
    if (!column) return;
    const sign = this.descending ? -1 : 1;
    const keyed = this.rows.map((row, place) => ({ row, place, value: column.value(row) }));
    const lacks = (each) => Number(!known(each.value)); // what has no value stands last in both directions
    keyed.sort((a, b) => lacks(a) - lacks(b) || sign * compare(a.value, b.value) || a.place - b.place);
    this.rows = keyed.map(({ row }) => row);
  }

  sortBy(column) {
    const again = this.sort === column.key;
    this.descending = again ? !this.descending : column.first === "descending";
    this.sort = column.key;
    this.page = 0;
    this.order();
    this.drawHead();
    this.draw();
    this.head.querySelector(`[data-key="${column.key}"]`).focus();
    say(`Sorted by ${column.label || column.title}, ${this.descending ? "descending" : "ascending"}`);
    this.onsort(this.sort, this.descending);
  }

  drawHead() {
    this.head.replaceChildren(
      ...this.columns.map((column) => {
        const sorted = column.key === this.sort;
        const direction = this.descending ? "descending" : "ascending";
        const told = { type: "button", "data-key": column.key, title: column.label, onclick: () => this.sortBy(column) };
        const button = make(
          "button",
          told,
          column.title,
          make("span", { class: "arrow", "aria-hidden": "true" }, sorted ? (this.descending ? "▼" : "▲") : ""),
        );
        return make(
          "th",
          { scope: "col", class: classes(column), "aria-sort": sorted ? direction : null },
          column.value ? button : column.title,
        );
      }),
    );
  }

  draw() {
    const from = this.page * PAGE_ROWS;
    const shown = this.rows.slice(from, from + PAGE_ROWS);
    this.body.replaceChildren(
      ...shown.map((row) =>
        make(
          "tr",
          { class: this.rowClass(row) },
          this.columns.map((column) =>
            make(column.heads ? "th" : "td", { class: classes(column), scope: column.heads ? "row" : null }, column.cell(row)),
          ),
        ),
      ),
    );
    if (!shown.length) {
      this.body.append(
        make("tr", {}, make("td", { colspan: this.columns.length, class: "empty" }, "Nothing matches these filters.")),
      );
    }
    this.drawPager(from, shown.length);
  }

  drawPager(from, length) {
    const pages = Math.ceil(this.rows.length / PAGE_ROWS);
    this.pager.hidden = pages < 2;
    const to = (text, page) =>
      make(
        "button",
        {
          type: "button",
          disabled: page < 0 || page >= pages || page === this.page,
          onclick: () => {
            this.page = page;
            this.draw();
            this.element.scrollIntoView({ block: "start" });
          },
        },
        text,
      );
    this.pager.replaceChildren(
      to("First", 0),
      to("Previous", this.page - 1),
      make("span", { role: "status" }, `${from + 1}–${from + length} of ${this.rows.length.toLocaleString("en")}`),
      to("Next", this.page + 1),
      to("Last", pages - 1),
    );
  }
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function classes(column) {
  return [column.number && "number", column.wide && "wide"].filter(Boolean).join(" ") || null;
}
