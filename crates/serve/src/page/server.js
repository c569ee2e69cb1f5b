// Requests to the server, whose messages are shown as they are.

const KEY = "kindling-api-key";
let key = stored();

/** Why there is no answer. */
class Problem extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// The key lives as long as the tab. Browsers may forbid even that.
function stored() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function keep(given) {
  key = given;
  try {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  } catch {
    // It is asked for again.
  }
}

/** The response to a request that was accepted. Paths are relative, so that a proxy may put the server below one of its own. */
async function request(path, body, signal) {
  const headers = new Headers();
  if (key) headers.set("authorization", `Bearer ${key}`);
  if (body) headers.set("content-type", "application/json");
  const options = { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal, cache: "no-store" };
  const response = await reached(fetch(path, options), signal);
  if (response.ok) return response;
  const text = await reached(response.text(), signal);
  let error;
  try {
    error = JSON.parse(text).error;
  } catch {
    // A proxy's answer, perhaps a page of its own.
  }
  const message = error?.message ?? `the server answered ${response.status} ${response.statusText}`.trim();
  throw new Problem(message, response.status, error?.code);
}

/** Tells that nobody was reached from that somebody has stopped. */
async function reached(promise, signal) {
  try {
    return await promise;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("the server does not answer: see whether it runs, then try again");
  }
}

async function json(path, body, signal) {
  return reached((await request(path, body, signal)).json(), signal);
}

/** The objects of a stream of server-sent events, until `[DONE]`. */
async function* events(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reached(reader.read(), signal);
    if (done) throw new Problem("the answer broke off: see whether the server runs, then try again");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter((line) => line.startsWith("data: "))) {
      const data = line.slice("data: ".length);
      if (data === "[DONE]") return;
      const object = JSON.parse(data);
      if (object.error) throw new Problem(object.error.message, undefined, object.error.code);
      yield object;
    }
  }
}
