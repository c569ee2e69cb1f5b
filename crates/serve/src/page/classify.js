// Classes, labels, entities and numbers: an answer's form says how it is shown, whatever the task.

/** Rows of a table of probabilities that are shown before the others are asked for. */
const ROWS = 5;

/** What one model answers to all texts, with what went wrong. */
class Answers {
  constructor(side, model, ask, isOneOfSeveral) {
    Object.assign(this, { side, model, ask, isOneOfSeveral, data: [] });
    this.note = element("span", "note");
    this.place = element("p", "legend", named(side, model.id, isOneOfSeveral), this.note);
  }

  async run(signal) {
    this.data = [];
    this.place.querySelector(".failed")?.remove();
    this.note.textContent = "waiting";
    const start = performance.now();
    try {
      const answer = await json(this.ask.path, { ...this.ask.body, model: this.model.id }, signal);
      this.data = answer.data;
      this.note.textContent = `${counted(this.data.length, "text", "texts")} in ${duration(performance.now() - start)}`;
    } catch (error) {
      this.note.textContent = signal.aborted ? "stopped" : "";
      if (!signal.aborted) fail(this, error);
    }
    this.ask.done();
  }
}

/** Asks all models for the answers to some texts, or pairs of texts, and shows them. Whether any has answered. */
async function classify(way, models, texts, truncate, signal) {
  const body = { input: texts };
  if (truncate) body.truncate_prompt_tokens = -1;
  const results = element("div", "");
  const ask = { path: way.path, body, done: () => showAll(results, texts, sides) };
  const sides = models.map((model, side) => new Answers(side, model, ask, models.length > 1));
  byId("answers").replaceChildren(...sides.map((side) => side.place), results);
  await Promise.all(sides.map((side) => side.run(signal)));
  say(spoken(texts, sides));
  return sides.some((side) => side.data.length > 0);
}

function showAll(results, texts, sides) {
  const answered = sides.filter((side) => side.data.length);
  const compared = answered.length > 1 ? comparison(answered) : null;
  const list = element("ol", "results");
  for (const [n, text] of texts.entries()) {
    if (!answered.length) break;
    const entries = answered.map((side) => ({ side: side.side, model: side.model, entry: side.data[n], isOneOfSeveral: sides.length > 1 }));
    list.append(element("li", "", ...shown(text, entries, compared?.differs(n))));
  }
  results.replaceChildren(compared ? element("p", "lead", compared.says) : "", list);
}

/** What two models' answers have in common: numbers by how far they are apart, others by whether they are equal. */
function comparison([first, second]) {
  const values = first.data.map((entry, n) => Math.abs(entry.value - second.data[n].value));
  if (values.every(Number.isFinite)) {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return { says: `${mean.toPrecision(3)} apart on average`, differs: () => false };
  }
  const differs = (n) => gist(first.data[n]) !== gist(second.data[n]);
  const count = first.data.filter((_, n) => differs(n)).length;
  const says = count === 0 ? "All answers are the same" : `${count} of ${counted(first.data.length, "answer differs", "answers differ")}`;
  return { says, differs };
}

function gist({ label, labels, entities, value }) {
  return JSON.stringify([label, labels, entities?.map(({ label, start, end }) => [label, start, end]), value]);
}

function shown(text, entries, differs) {
  const [first, second] = [text].flat();
  const withEntities = entries.filter(({ entry }) => entry.entities);
  const withValue = entries.filter(({ entry }) => entry.value !== undefined);
  const withProbabilities = entries.filter(({ entry }) => entry.probs);
  const parts = [];
  // Entities are marked in the text, so that it need not stand there once more.
  if (withEntities.length < entries.length) {
    parts.push(quoted(first), second === undefined ? null : quoted(second));
  }
  if (differs) parts.push(element("p", "place", element("em", "", "differs")));
  for (const { side, model, entry, isOneOfSeveral } of withEntities) {
    if (isOneOfSeveral) parts.push(element("p", "of", named(side, model.id, true)));
    parts.push(marked(first, entry.entities));
  }
  if (withValue.length) parts.push(numbers(withValue));
  if (withProbabilities.length) parts.push(...probabilities(withProbabilities));
  return parts;
}

function quoted(text) {
  const quote = element("blockquote", "", text);
  quote.dir = "auto";
  return quote;
}

/** Offsets count code points. */
function marked(text, entities) {
  const characters = Array.from(text);
  const quote = quoted("");
  let end = 0;
  for (const entity of entities) {
    show(quote, characters.slice(end, entity.start).join(""));
    const mark = element("mark", "", characters.slice(entity.start, entity.end).join(""), element("sub", "", entity.label));
    mark.title = percent(entity.score);
    quote.append(mark);
    end = entity.end;
  }
  show(quote, characters.slice(end).join(""));
  return quote;
}

function numbers(entries) {
  const value = ({ side, model, entry, isOneOfSeveral }) =>
    element("div", "", isOneOfSeveral ? element("dt", "", named(side, model.id, true)) : element("dt", "unseen", model.id), element("dd", "", number(entry.value)));
  return element("dl", "values", ...entries.map(value));
}

function number(value) {
  return value === null ? "none" : value.toLocaleString("en", { maximumSignificantDigits: 6 });
}

/** A row for each class, the most probable first, with a bar for each model. */
function probabilities(entries) {
  const rows = new Map();
  entries.forEach(({ model, entry }, n) => {
    model.labels.forEach((label, index) => {
      if (!rows.has(label)) rows.set(label, new Array(entries.length).fill(null));
      rows.get(label)[n] = { probability: entry.probs[index], isAnswer: entry.labels ? entry.labels.includes(label) : entry.label === label };
    });
  });
  const most = (cells) => Math.max(...cells.map((cell) => cell?.probability ?? 0));
  const sorted = [...rows].sort(([, a], [, b]) => most(b) - most(a));
  const parts = [table(entries, sorted.slice(0, ROWS))];
  if (sorted.length > ROWS) {
    parts.push(element("details", "", element("summary", "", `${sorted.length - ROWS} more`), table(entries, sorted.slice(ROWS))));
  }
  return parts;
}

function table(entries, rows) {
  const heads = ["Label", "", ...entries.map(({ model }) => model.id)].map((text) => {
    const head = element("th", "", text);
    head.scope = "col";
    return head;
  });
  const body = rows.map(([label, cells]) => {
    const name = element("th", "", ...breakable(label));
    name.scope = "row";
    const bars = cells.map((cell, n) => {
      const bar = element("i", entries.length > 1 ? `fill${entries[n].side}` : "");
      bar.style.width = `${100 * (cell?.probability ?? 0)}%`;
      return bar;
    });
    const numbers = cells.map((cell) => {
      const text = cell ? percent(cell.probability) : "–";
      return element("td", "number", cell?.isAnswer ? element("b", "", text, element("span", "unseen", " answer")) : text);
    });
    return element("tr", "", name, element("td", "track", ...bars), ...numbers);
  });
  return element("table", "bars", element("thead", "unseen", element("tr", "", ...heads)), element("tbody", "", ...body));
}

function percent(share) {
  return share === null ? "none" : `${(100 * share).toFixed(1)} %`;
}

/** The answers in words. */
function spoken(texts, sides) {
  const answer = ({ label, labels, entities, value }) =>
    label ?? (labels ?? entities?.map(({ label, text }) => `${text} ${label}`) ?? [number(value)]).join(", ");
  const lines = sides.filter((side) => side.data.length).map((side) => {
    const name = sides.length > 1 ? `${side.model.id}: ` : "";
    return name + side.data.slice(0, 10).map((entry) => answer(entry) || "none").join("; ");
  });
  return lines.join(". ");
}
