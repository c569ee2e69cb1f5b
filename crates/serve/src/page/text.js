// Texts of models, of files and of the server are data: nodes are made by their names, and texts are never markup.

const byId = (id) => document.getElementById(id);

/** An element with a class, which may be empty, and its children: nodes, or texts. */
function element(name, kind, ...children) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  for (const child of children) {
    if (typeof child === "string") show(made, child);
    else if (child) made.append(child);
  }
  return made;
}

// What is not seen or turns the direction of what is around it, but for line feeds, tabs, and the joiners that scripts and emoji need.
const SIGNS = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]/u;

/** Adds a text to a node; control characters become signs. */
function show(node, text) {
  for (let rest = text; rest !== ""; ) {
    const found = SIGNS.exec(rest);
    const before = found ? rest.slice(0, found.index) : rest;
    if (before) node.append(before);
    if (!found) return;
    node.append(sign(found[0]));
    rest = rest.slice(found.index + found[0].length);
  }
}

function sign(character) {
  const code = character.codePointAt(0);
  const name = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
  const made = document.createElement("span");
  made.className = "sign";
  made.title = name;
  made.textContent = code < 32 ? String.fromCodePoint(0x2400 + code) : code === 127 ? "\u2421" : name;
  return made;
}

/** A text with the colour of a side before it, where there are several. */
function named(side, text, isOneOfSeveral) {
  return element("span", "name", isOneOfSeveral ? element("i", `key run${side}`) : null, ...breakable(text));
}

/** A name, which a line may end in after any underscore. */
function breakable(name) {
  return name.split(/(?<=_)/).flatMap((part, n) => (n ? [element("wbr", ""), part] : [part]));
}

function duration(milliseconds) {
  if (milliseconds < 950) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(milliseconds < 9950 ? 1 : 0)} s`;
}

function counted(count, singular, plural) {
  return `${count.toLocaleString("en")} ${count === 1 ? singular : plural}`;
}

/** Says something to those who listen to the page. */
function say(text) {
  const said = byId("said");
  while (said.childElementCount > 20) said.firstElementChild.remove();
  said.append(element("p", "", text));
}
