// Chat and completion: what models write, as it comes.

/** The turns of the conversation: what was asked, and the answers to it. */
let turns = [];

/** What the page says while a text is written, whole sentences at a time; of several texts each when it is complete. */
class Speaker {
  constructor(name, isAlone) {
    this.name = name;
    this.isAlone = isAlone;
    this.waiting = "";
  }

  add(text) {
    this.waiting += text;
    const end = this.isAlone ? /^[^]*[.!?\n:;](?=\s)/.exec(this.waiting) : null;
    if (end) {
      say(end[0]);
      this.waiting = this.waiting.slice(end[0].length);
    }
  }

  end() {
    if (this.waiting.trim()) say(this.isAlone ? this.waiting : `${this.name}: ${this.waiting}`);
    this.waiting = "";
  }
}

/** What one model writes to one question, and the place in the page where it stands. */
class Answer {
  constructor(side, model, ask, isOneOfSeveral) {
    Object.assign(this, { side, model, ask, isOneOfSeveral, text: "", isUsable: false });
    this.written = element("p", "written");
    this.written.dir = "auto";
    this.note = element("p", "note");
    this.place = element("article", "", element("h3", "", named(side, model.id, isOneOfSeveral)), this.written, this.note);
  }

  async run(signal) {
    this.text = "";
    this.isUsable = false;
    this.written.replaceChildren();
    this.place.querySelector(".failed")?.remove();
    this.place.setAttribute("aria-busy", "true");
    this.note.textContent = "waiting";
    const speaker = new Speaker(this.model.id, !this.isOneOfSeveral);
    const times = { start: performance.now(), tokens: 0 };
    try {
      await this.read(speaker, times, signal);
      this.isUsable = true;
      this.note.textContent = summary(times);
      if (this.text === "") this.written.append(element("span", "sign", "nothing"));
    } catch (error) {
      this.isUsable = this.text !== "";
      this.note.textContent = times.first ? summary(times) : "";
      if (signal.aborted) this.note.append(this.note.textContent ? " · stopped" : "stopped");
      else fail(this, error);
    }
    speaker.end();
    this.written.normalize();
    this.place.removeAttribute("aria-busy");
  }

  async read(speaker, times, signal) {
    const response = await request(this.ask.path, { ...this.ask.body(this.side), model: this.model.id }, signal);
    for await (const chunk of events(response, signal)) {
      const [choice] = chunk.choices;
      const text = choice?.delta?.content ?? choice?.text ?? "";
      if (text) {
        times.first ??= performance.now();
        times.tokens += 1;
        this.text += text;
        const follow = isAtEnd();
        show(this.written, text);
        this.note.textContent = summary({ ...times, last: performance.now() });
        if (follow) toEnd();
        speaker.add(text);
      }
      if (choice?.finish_reason) Object.assign(times, { last: performance.now(), finish: choice.finish_reason });
      if (chunk.usage) times.tokens = chunk.usage.completion_tokens;
    }
  }
}

/** `24 tokens · 31 tokens/s · first after 0.2 s`; the first token is the prompt's affair, so the rate is that of the others. */
function summary({ start, first, last, tokens, finish }) {
  const parts = [counted(tokens, "token", "tokens")];
  const rate = (1000 * (tokens - 1)) / (last - first);
  if (tokens > 1 && Number.isFinite(rate)) parts.push(`${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`);
  if (first) parts.push(`first after ${duration(first - start)}`);
  if (finish === "length") parts.push("at the token limit");
  return parts.join(" · ");
}

/** Of each side by its model; where that has not answered, by another: a model may go on with what another began. */
function conversation(model, system) {
  const messages = system ? [{ role: "system", content: system }] : [];
  for (const turn of turns) {
    const usable = turn.answers.filter((answer) => answer.isUsable);
    const answer = usable.find((answer) => answer.model.id === model.id) ?? usable[0];
    if (answer) messages.push({ role: "user", content: turn.text }, { role: "assistant", content: answer.text });
  }
  return messages;
}

/** Asks all models for a text, and shows what they write. Whether any has answered. */
async function write(way, models, text, settings, signal) {
  const { system, ...sampling } = settings;
  const common = { ...sampling, stream: true, stream_options: { include_usage: true } };
  const histories = models.map((model) => (way.isChat ? conversation(model, system) : []));
  const body = (side) =>
    way.isChat
      ? { ...common, messages: [...histories[side], { role: "user", content: text }] }
      : { ...common, prompt: text };
  const ask = { path: way.path, body };
  const answers = models.map((model, side) => new Answer(side, model, ask, models.length > 1));
  const question = element("p", way.isChat ? "asked" : "asked prompt", text);
  question.dir = "auto";
  const same = element("p", "note");
  const sides = element("div", models.length > 1 ? "sides" : "", ...answers.map((answer) => answer.place));
  const place = element("div", "turn", way.isChat ? element("h2", "unseen", "You") : null, question, sides, same);
  if (way.isChat) turns.push({ text, answers });
  else byId("answers").replaceChildren();
  byId("answers").append(place);
  toEnd();
  await Promise.all(answers.map((answer) => answer.run(signal)));
  const [first, ...others] = answers;
  if (others.length && answers.every((answer) => answer.isUsable && answer.text === first.text)) show(same, "Both wrote the same.");
  return answers.some((answer) => answer.isUsable);
}

function isAtEnd() {
  return window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 40;
}

function toEnd() {
  if (currentWay().isChat) window.scrollTo(0, document.documentElement.scrollHeight);
}
