// Photos in by drop, paste, picker or camera; a card for each; a few requests at a time.
// What comes from a file or from the server is only ever set as textContent.

const AT_ONCE = 4;
const CLASSES_SHOWN = 5;
const TRIES = 6;

const byId = (id) => document.getElementById(id);
const cards = byId("cards");
const waiting = [];
const addresses = []; // of pictures in memory
let model = null;
let running = 0;
let tally = newTally();

function newTally() {
  return { added: 0, done: 0, failed: 0, unknown: 0, labels: new Map() };
}

takePhotos();
const described = askForModel();

async function askForModel() {
  try {
    const answer = await fetch("model");
    if (!answer.ok) throw new Error();
    model = await answer.json();
    describeModel();
  } catch {
    byId("about").textContent = "The server cannot be reached. Reload the page to try again.";
  }
}

function describeModel() {
  const names = model.class_names;
  const shown = names.slice(0, 8).join(", ") + (names.length > 8 ? ", …" : "");
  const classes = names.length === 2 ? names.join(" from ") : `${names.length} classes apart: ${shown}`;
  const test = model.training?.metrics?.test;
  const before = model.training?.metrics_of ? ", before its weights were rounded" : "";
  const record = test ? ` It named ${percent(test.accuracy)} of ${test.count} test photos right${before}.` : "";
  byId("about").textContent = `This model tells ${classes}.${record}`;
  document.title = `petclassify: ${model.name}`;
}

function takePhotos() {
  for (const [button, input] of [["choose", "files"], ["shoot", "camera"]]) {
    byId(button).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", (event) => {
      add([...event.target.files]);
      event.target.value = "";
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) {
      event.preventDefault();
      add(files);
    }
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    add(await droppedFiles(event.dataTransfer));
  });
  byId("clear").addEventListener("click", clear);
}

async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries) if (entry) await collect(entry, files);
  return files;
}

// A folder's images, its folders' too; what else lies in it is no concern of this page. What
// cannot be read comes as an empty file, whose card will say that nothing is in it.
async function collect(entry, files, inFolder = false) {
  if (entry.isFile) {
    const file = await new Promise((found) => entry.file(found, () => found(null)));
    if (!file) files.push(new File([], entry.name));
    else if (!inFolder || file.type.startsWith("image/")) files.push(file);
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((found) => reader.readEntries(found, () => found(null)));
    if (!some) files.push(new File([], entry.name));
    if (!some?.length) return;
    for (const inner of some) await collect(inner, files, true);
  }
}

function add(files) {
  if (!files.length) return;
  const made = files.map(makeCard);
  cards.prepend(...made.map((card) => card.element));
  byId("results").hidden = false;
  tally.added += made.length;
  waiting.push(...made);
  showTally();
  work();
}

function makeCard(file) {
  const element = byId("card").content.firstElementChild.cloneNode(true);
  const part = (name) => element.querySelector(`.${name}`);
  const card = { file, element, part, tally, photo: addressOf(file), heat: null };
  const image = element.querySelector("img");
  image.src = card.photo;
  image.alt = file.name;
  image.addEventListener("error", () => {
    image.hidden = true;
    part("no-preview").hidden = false;
  });
  part("name").textContent = file.name;
  part("name").title = file.name;
  part("look").addEventListener("click", () => toggleHeat(card));
  part("again").addEventListener("click", () => {
    element.focus(); // the button goes, and the keyboard's place is not to go with it
    part("again").hidden = true;
    card.tally.failed -= 1;
    card.tally.done -= 1;
    say(card, "waiting", "Waiting…");
    waiting.push(card);
    showTally();
    work();
  });
  return card;
}

function addressOf(picture) {
  const address = URL.createObjectURL(picture);
  addresses.push(address);
  return address;
}

function work() {
  while (running < AT_ONCE && waiting.length) {
    running += 1;
    classify(waiting.shift()).finally(() => {
      running -= 1;
      work();
    });
  }
}

async function classify(card) {
  await described;
  const most = model?.limits?.body_bytes;
  if (most && card.file.size > most) {
    fail(card, `Larger than the limit of ${Math.floor(most / 2 ** 20)} MiB: send a smaller copy.`, false);
  } else {
    try {
      await card.file.slice(0, 1).arrayBuffer();
    } catch {
      fail(card, "The file can no longer be read.", true);
      finish(card);
      return;
    }
    try {
      const answer = await post("predict", card.file);
      const said = await answer.json();
      if (answer.ok) succeed(card, said);
      else fail(card, sentence(said.error?.message ?? `status ${answer.status}`), answer.status >= 500 || answer.status === 408);
    } catch {
      fail(card, "The server cannot be reached.", true);
    }
  }
  finish(card);
}

function finish(card) {
  card.tally.done += 1;
  if (card.tally === tally) showTally();
}

// A busy server says when to come back; it is believed a few times.
async function post(path, file) {
  for (let tried = 1; ; tried += 1) {
    const answer = await fetch(path, { method: "POST", body: file });
    if (answer.status !== 503 || tried === TRIES) return answer;
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    await new Promise((resume) => setTimeout(resume, 1000 * seconds * tried));
  }
}

function succeed(card, said) {
  const { part } = card;
  if (said.known) {
    card.tally.labels.set(said.label, (card.tally.labels.get(said.label) ?? 0) + 1);
    say(card, "known", said.label, percent(said.probability));
  } else {
    card.tally.unknown += 1;
    const closest = `${said.label}, ${percent(said.probability)}`;
    say(card, "unknown", "unknown", "", `Unlike the photos it learned from. Closest: ${closest}`);
  }
  const classes = Object.entries(said.probabilities).sort((a, b) => b[1] - a[1]);
  part("bars").replaceChildren(...classes.slice(0, CLASSES_SHOWN).map(makeBar));
  part("familiarity").textContent = familiarity(said);
  part("familiarity").hidden = false;
  part("look").hidden = !model?.explains;
}

function fail(card, why, mayTryAgain) {
  card.tally.failed += 1;
  card.part("again").hidden = !mayTryAgain;
  say(card, "failed", "Not classified", "", why);
}

function say(card, state, label, probability = "", remark = "") {
  card.element.dataset.state = state;
  card.part("label").textContent = label;
  card.part("probability").textContent = probability;
  card.part("remark").textContent = remark;
}

function makeBar([name, share]) {
  const bar = document.createElement("li");
  bar.append(span("of", name), span("share", percent(share)), span("track", ""));
  const fill = span("fill", "");
  fill.style.width = `${100 * share}%`;
  bar.lastChild.append(fill);
  return bar;
}

function span(name, text) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

async function toggleHeat(card) {
  const button = card.part("look");
  const image = card.element.querySelector("img");
  const show = button.getAttribute("aria-pressed") !== "true";
  if (button.ariaBusy === "true") return;
  if (show && !card.heat) {
    button.ariaBusy = "true"; // not disabled, which would lose the keyboard's place
    button.textContent = "Looking…";
    try {
      const answer = await post("explain", card.file);
      if (!answer.ok) throw new Error();
      card.heat = addressOf(await answer.blob());
    } catch {
      button.textContent = "No heat map to be had. Try again";
      return;
    } finally {
      button.ariaBusy = "false";
    }
  }
  image.hidden = false;
  card.part("no-preview").hidden = true;
  image.src = show ? card.heat : card.photo;
  image.alt = show ? `${card.file.name}, brightest where the model looked` : card.file.name;
  button.setAttribute("aria-pressed", String(show));
  button.textContent = "Where it looked";
}

function showTally() {
  const { added, done, failed, unknown, labels } = tally;
  const counts = [...labels].sort((a, b) => b[1] - a[1]);
  if (unknown) counts.push(["unknown", unknown]);
  if (failed) counts.push(["not classified", failed]);
  const found = counts.map(([what, count]) => (added === 1 ? what : `${what} ${count}`)).join(", ");
  const photos = done < added ? `${done} of ${added} photos` : `${added} photo${added === 1 ? "" : "s"}`;
  const text = found ? `${photos}: ${found}` : photos;
  byId("summary").textContent = text;
  if (done === added) byId("spoken").textContent = text;
}

function clear() {
  waiting.length = 0;
  addresses.splice(0).forEach((address) => URL.revokeObjectURL(address));
  cards.replaceChildren();
  tally = newTally();
  byId("results").hidden = true;
  byId("spoken").textContent = "Cleared";
  byId("choose").focus();
}

// Rounded down, but never across what is known from.
function familiarity(said) {
  const least = model ? Math.ceil(1000 * model.known_threshold) / 10 : 0;
  const found = Math.max(Math.floor(1000 * said.familiarity) / 10, said.known ? least : 0);
  const known = model ? ` (known from ${least.toFixed(1)}\u00a0% on)` : "";
  return `Familiarity ${found.toFixed(1)}\u00a0%${known}`;
}

function percent(share) {
  if (share > 0.999 && share < 1) return "> 99.9 %";
  if (share < 0.001 && share > 0) return "< 0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
}
