// The page itself: who is asked, with which settings, and what the keyboard does.

const WAYS = {
  chat: { path: "v1/chat/completions", isChat: true, label: "Message" },
  completion: { path: "v1/completions", label: "Text to continue" },
  classes: { path: "classify", label: "Texts, one a line" },
};
/** New tokens of a completion where none are said; a chat has the room that there is. */
const TOKENS = 64;

let models = [];
let running = null;

/** The models that are asked: one, or two. */
function chosen() {
  const ids = [byId("model").value, byId("other").value];
  return ids.map((id) => models.find((model) => model.id === id)).filter(Boolean);
}

/** The ways in which all chosen models can be asked. */
function possible(asked) {
  return Object.keys(WAYS).filter((name) => asked.every((model) => model.endpoints.includes(`/${WAYS[name].path}`)));
}

function currentWay() {
  const names = possible(chosen());
  const wanted = document.querySelector("#ways input:checked")?.value;
  return WAYS[names.includes(wanted) ? wanted : names[0]] ?? WAYS.chat;
}

async function open() {
  try {
    models = (await json("v1/models")).data.filter((model) => possible([model]).length);
  } catch (error) {
    return refuse(error);
  }
  byId("key-form").hidden = true;
  const message = models.length ? "" : "there is no model that answers: serve an adapter, or a model with a trained head";
  byId("problem").replaceChildren();
  show(byId("problem"), message);
  byId("controls").hidden = byId("composer").hidden = !models.length;
  if (!models.length) return;
  byId("base").replaceChildren();
  show(byId("base"), models[0].root);
  document.title = `${models[0].root} · kindling`;
  const first = models.find((model) => model.parent) ?? models[0];
  fill(byId("model"), models, byId("model").value || first.id);
  arrange();
  if (!isTouched()) byId("text").focus();
}

/** Says why the models are not known; a key is asked for where one is needed. */
function refuse(error) {
  const needsKey = error.status === 401;
  byId("key-form").hidden = !needsKey;
  byId("controls").hidden = byId("composer").hidden = true;
  const place = byId(needsKey ? "key-problem" : "problem");
  byId("problem").replaceChildren();
  place.replaceChildren();
  // Without a key the form says all that there is to say.
  if (!needsKey || key) show(place, error.message);
  if (needsKey) {
    keep("");
    byId("key").focus();
  }
}

function fill(select, choices, value) {
  select.replaceChildren();
  for (const task of new Set(choices.map((model) => model.task))) {
    const group = element("optgroup", "");
    group.label = task;
    for (const model of choices.filter((model) => model.task === task)) {
      const option = element("option", "", plain(model.id) + (model.parent ? "" : " (base)"));
      option.value = model.id;
      group.append(option);
    }
    select.append(group);
  }
  if (choices.some((model) => model.id === value)) select.value = value;
}

/** Options have room for text alone. */
function plain(text) {
  return element("span", "", text).textContent;
}

/** Shows what the chosen models need. */
function arrange() {
  const [model] = chosen();
  const others = models.filter((other) => other !== model && possible([model, other]).length);
  const value = byId("other").value;
  fill(byId("other"), others, "");
  const nothing = element("option", "", "nothing");
  nothing.value = "";
  byId("other").prepend(nothing);
  byId("other").value = others.some((other) => other.id === value) ? value : "";
  byId("other").disabled = !others.length;
  const names = possible(chosen());
  const current = currentWay();
  byId("ways").hidden = names.length < 2;
  for (const input of document.querySelectorAll("#ways input")) input.checked = WAYS[input.value] === current;
  const writes = current !== WAYS.classes;
  byId("of-writing").hidden = !writes;
  byId("of-chat").hidden = !current.isChat;
  byId("of-classes").hidden = writes;
  byId("max-tokens").placeholder = current.isChat ? "what fits" : `${TOKENS}`;
  const [first, second] = writes ? [] : model.columns;
  byId("second-text").hidden = second === undefined;
  const isPair = second !== undefined;
  label("text", isPair ? `${first}, one a line` : current.label, !isPair);
  if (isPair) label("second", `${second}, one a line`, false);
  if (current !== arranged) {
    arranged = current;
    turns = [];
    byId("answers").replaceChildren();
    // A conversation grows towards its field; of the others the last answer stands below it.
    if (current.isChat) byId("answers").after(byId("composer"));
    else byId("composer").after(byId("answers"));
    byId("composer").classList.toggle("stays", Boolean(current.isChat));
  }
  byId("clear").hidden = !turns.length;
}
let arranged = null;

function label(id, text, isUnseen) {
  const place = byId(`${id}-label`);
  place.replaceChildren();
  show(place, text);
  place.classList.toggle("unseen", isUnseen);
  byId(id).placeholder = isUnseen ? text : "";
}

/** What was typed, as the number that it is; anything else the server refuses by its name. */
function typed(id) {
  const text = byId(id).value.trim();
  if (text === "") return undefined;
  const value = Number(text);
  return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value)) ? value : text;
}

function settings(isChat) {
  return {
    temperature: typed("temperature") ?? 0,
    // Models that are compared draw alike.
    seed: typed("seed") ?? Math.floor(Math.random() * 2 ** 32),
    max_tokens: typed("max-tokens") ?? (isChat ? undefined : TOKENS),
    system: isChat ? byId("system").value.trim() : "",
  };
}

function lines(id) {
  return byId(id).value.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** Texts, or pairs of them. */
function inputs() {
  const texts = lines("text");
  if (byId("second-text").hidden) return texts;
  const seconds = lines("second");
  if (texts.length !== seconds.length) {
    throw new Problem(`there are ${counted(texts.length, "first text", "first texts")} and ${counted(seconds.length, "second", "seconds")}: give as many of both`);
  }
  return texts.map((text, n) => [text, seconds[n]]);
}

async function send() {
  if (running) return;
  const [current, asked, text] = [currentWay(), chosen(), byId("text").value];
  byId("problem").replaceChildren();
  if (text.trim() === "") return byId("text").focus();
  let work;
  if (current === WAYS.classes) {
    let texts;
    try {
      texts = inputs();
    } catch (error) {
      return show(byId("problem"), error.message);
    }
    work = (signal) => classify(current, asked, texts, byId("truncate").checked, signal);
  } else {
    work = (signal) => write(current, asked, text, settings(current.isChat), signal);
  }
  // What is continued stays, to be changed. The rest stands with its answers, or is sent again, perhaps with other settings.
  const restore = current === WAYS.completion ? () => {} : emptied(["text", "second"]);
  if (!(await busy(work))) restore();
}

/** Empties fields; what it returns fills them again, unless something was typed meanwhile. */
function emptied(ids) {
  const fill = (values) =>
    ids.forEach((id, n) => {
      byId(id).value = values[n];
      grow(byId(id));
    });
  const values = ids.map((id) => byId(id).value);
  fill(ids.map(() => ""));
  return () => ids.every((id) => byId(id).value === "") && fill(values);
}

/** While a request runs it can be stopped, and there is no other. */
async function busy(work) {
  running = new AbortController();
  byId("send").hidden = true;
  byId("stop").hidden = false;
  byId("clear").hidden = true;
  if (document.activeElement === document.body || document.activeElement === byId("send")) byId("stop").focus();
  try {
    return await work(running.signal);
  } finally {
    running = null;
    const wasOnStop = document.activeElement === byId("stop");
    byId("send").hidden = false;
    byId("stop").hidden = true;
    byId("clear").hidden = !turns.length;
    if (wasOnStop) byId("text").focus({ preventScroll: true });
  }
}

/** Says in the place of an answer why there is none, and offers to ask again unless the request itself is to blame. */
function fail(answer, error) {
  if (!(error instanceof Problem)) console.error(error);
  const message = element("span", "", error.message);
  message.setAttribute("role", "alert");
  const failed = element("div", "failed", message);
  if (!(error.status >= 400 && error.status < 500) || error.status === 401) {
    const again = element("button", "plain", "Try again");
    again.type = "button";
    again.addEventListener("click", () => !running && busy((signal) => answer.run(signal)));
    failed.append(again);
  }
  const follow = isAtEnd();
  answer.place.append(failed);
  if (follow) toEnd();
  if (error.status === 401) refuse(error);
  if (error.code === "model_not_found") refresh();
}

/** Adapters come and go while the server runs. */
async function refresh() {
  if (running || byId("controls").hidden) return;
  try {
    models = (await json("v1/models")).data.filter((model) => possible([model]).length);
  } catch {
    // The next request says what is wrong.
    return;
  }
  if (!models.length) return;
  fill(byId("model"), models, byId("model").value);
  arrange();
}

function isTouched() {
  return matchMedia("(pointer: coarse)").matches;
}

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(byId("key").value.trim());
  byId("key").value = "";
  // Others cannot be sent in a header, and so are nobody's key.
  if (/^[\x21-\x7e]*$/.test(key)) open();
  else refuse(new Problem("the API key is not one of this server's", 401));
});
for (const id of ["controls", "composer"]) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
}
byId("controls").addEventListener("change", arrange);
byId("stop").addEventListener("click", (event) => {
  // Not the second click of two on the button that stood there.
  if (event.detail < 2) running?.abort();
});
byId("clear").addEventListener("click", () => {
  turns = [];
  byId("answers").replaceChildren();
  arrange();
  byId("text").focus();
});
for (const area of document.querySelectorAll("#composer textarea")) {
  area.addEventListener("input", () => grow(area));
  area.addEventListener("keydown", (event) => {
    // On a phone there is no other key for a new line, and while a word is composed Enter accepts it.
    const sends = event.key === "Enter" && !event.shiftKey && !event.isComposing && !isTouched();
    if (!sends) return;
    event.preventDefault();
    send();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
open();
