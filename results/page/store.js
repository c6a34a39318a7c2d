// The records, as the page carries them: one packed board, and pieces of details that are unpacked when a run is opened.

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

class Store {
  constructor(board) {
    Object.assign(this, board);
    this.unpacked = new Map();
    this.settings.forEach((setting, number) => {
      setting.number = number;
      setting.runs = [];
    });
    this.all = this.runs.columns.folder.map((_, number) => this.run(number));
    for (const run of this.all) if (run.setting >= 0) this.settings[run.setting].runs.push(run);
    this.settingById = new Map(this.settings.map((setting) => [setting.id, setting]));
    this.runByFolder = new Map(this.all.map((run) => [run.folder, run]));
  }

  run(number) {
    const { texts, columns } = this.runs;
    const run = { number };
    for (const [name, values] of Object.entries(columns)) {
      run[name] = Store.WORDS.has(name) ? texts[values[number]] : values[number];
    }
    return run;
  }

  medianOf(setting) {
    return this.all[this.median[setting.number]];
  }

  hasDetails(run) {
    return this.pieces[1][run.number] >= 0;
  }

  async basics(run) {
    const { content, shared } = await this.piece("basics", this.pieces[0][run.number], run);
    return { ...content, config: shared[content.config], provenance: shared[content.provenance] };
  }

  async details(run) {
    if (!this.hasDetails(run)) return null;
    return (await this.piece("details", this.pieces[1][run.number], run)).content;
  }

  async piece(kind, number, run) {
    const id = `packed-${kind}-${number}`;
    if (!this.unpacked.has(id)) {
      await parsed();
      this.unpacked.set(id, unpack(document.getElementById(id).textContent));
    }
    const piece = await this.unpacked.get(id);
    return { content: piece.runs[run.number], shared: piece.shared };
  }
}

Store.WORDS = new Set(["method", "dataset", "protocol", "task", "budget", "status"]);

// Pieces stand at the end of the file; a link may ask for one before the browser has read so far.
function parsed() {
  if (document.readyState !== "loading") return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
}
