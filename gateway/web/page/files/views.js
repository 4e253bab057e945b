// What an overview looks like. Each function shows one part of it; all are called with every overview.

import { byId, copy, keep, make, mark, put } from "./dom.js";
import * as words from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const MINUTE = 60;
const TILES = {
  received: "Received",
  created: "Created",
  deduplicated: "Deduplicated",
  resolved: "Resolved",
  denied: "Denied",
  invalid: "Invalid",
};

/** How the page changed from one overview to the next, for those who listen to it. */
export class News {
  #last = new Map();

  /** Say it where it is something else than before; what is there from the beginning is not said. */
  of(topic, value, sentence) {
    const before = this.#last.get(topic);
    this.#last.set(topic, value);
    if (before !== undefined && before !== value && sentence) put(byId("announcer"), sentence);
  }
}

/** The figures of the last minute, as far as this page has seen it. */
export class Flow {
  #seen = [];
  #process = "";

  show({ status, totals }) {
    if (status.process !== this.#process) {
      this.#process = status.process;
      this.#seen = [];
    }
    this.#seen.push({ at: status.uptimeSeconds, totals });
    // One that is older stays: from it the minute is counted.
    while (this.#seen.length > 2 && this.#seen[1].at <= status.uptimeSeconds - MINUTE) this.#seen.shift();
    const watched = Math.min(MINUTE, Math.round(status.uptimeSeconds - this.#seen[0].at));
    put(byId("in-span"), watched < MINUTE ? `alerts in the last ${watched} s` : "alerts in the last minute");
    keep(byId("tiles"), Object.keys(TILES), (name) => name, tile);
    for (const child of byId("tiles").children) {
      const name = child.dataset.key;
      child.figures(totals[name] - this.#seen[0].totals[name], totals[name], this.#bars(name, status.uptimeSeconds));
    }
  }

  #bars(name, now) {
    const bars = new Array(MINUTE).fill(0);
    for (let place = 1; place < this.#seen.length; place += 1) {
      const age = Math.floor(now - this.#seen[place].at);
      if (age < MINUTE) bars[MINUTE - 1 - age] += this.#seen[place].totals[name] - this.#seen[place - 1].totals[name];
    }
    return bars;
  }
}

function tile(name) {
  const now = make("div", { class: "now" });
  const all = make("div", { class: "all" });
  const picture = document.createElementNS(SVG, "svg");
  const base = document.createElementNS(SVG, "path");
  const path = document.createElementNS(SVG, "path");
  picture.setAttribute("viewBox", "0 0 300 22");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("aria-hidden", "true");
  base.setAttribute("class", "base");
  base.setAttribute("d", "M0 21.5H300");
  picture.append(base, path);
  const made = make("div", { class: "tile", id: `tile-${name}` }, make("dt", {}, TILES[name]), make("dd", {}, now, all, picture));
  made.show = () => {};
  made.figures = (minute, total, bars) => {
    put(now, words.number(minute));
    now.dataset.none = String(minute === 0);
    put(all, `${words.number(total)} since start`);
    const most = Math.max(...bars, 1);
    path.setAttribute("d", bars.map((bar, x) => (bar > 0 ? `M${x * 5 + 2.5} 21V${21 - Math.max(2, (20 * bar) / most)}` : "")).join(""));
  };
  return made;
}

export function head({ status }, news) {
  const [level, word, why] = words.MODES[status.mode];
  mark(byId("mode"), status.ready ? level : "bad", status.ready ? word : "not ready");
  put(byId("mode-why"), why);
  news.of("mode", status.mode, `The gateway is in another mode: ${word}. ${why}`);
  put(byId("about"), `Version ${status.version} · process ${status.process} · up ${words.span(status.uptimeSeconds)}`);
  document.title = status.mode === "normal" ? "Alert gateway" : `${word} · Alert gateway`;
}

export function windows({ windows: found, status }, news) {
  byId("windows").parentElement.hidden = !found?.length;
  byId("windows-none").hidden = Boolean(found?.length);
  put(byId("windows-none"), found ? "No alert is held back: nothing waits for company." : "Redis does not tell: windows are not known now.");
  const more = Math.max(0, status.windows - (found?.length ?? 0));
  put(byId("windows-note"), found?.length ? `${words.number(found.length)}${more ? ` of ${words.number(status.windows)}, the next to end first` : ""}` : "");
  keep(byId("windows").tBodies[0], found ?? [], (one) => one.id, windowRow);
  const storms = (found ?? []).filter((one) => one.state === "storming");
  news.of("storms", storms.map((one) => one.id).join(), storms.length ? `${words.many(storms.length, "storm")} now: ${storms.map((one) => one.group).join(", ")}` : "No storm any more.");
}

function windowRow() {
  const name = make("span", { class: "name" });
  const id = make("span", { class: "place" });
  const state = make("span");
  const bar = make("i");
  const frame = make("span", { class: "bar", "aria-hidden": "true" }, bar);
  const members = make("span");
  const left = make("td", { class: "number countdown" });
  const row = make("tr", {}, make("td", {}, name, id), make("td", {}, state), make("td", {}, make("div", { class: "members" }, frame, members)), left);
  row.show = (one) => {
    const [level, word] = words.WINDOWS[one.state];
    put(name, one.group);
    put(id, `window ${one.id}, since ${one.openedAt.slice(11, 19)} UTC${one.spilled ? `, written early ${words.many(one.spilled, "time")}` : ""}`);
    mark(state, level, word);
    frame.dataset.level = level;
    bar.style.width = `${Math.min(100, (100 * one.members) / one.threshold)}%`;
    put(members, one.state === "holding" ? `${words.number(one.members)} of ${words.number(one.threshold)}` : words.number(one.members));
    row.ends = performance.now() + one.dueIn * 1000;
    row.tick();
  };
  row.tick = () => {
    const seconds = (row.ends - performance.now()) / 1000;
    put(left, seconds > 0 ? words.span(seconds) : "now");
  };
  return row;
}

/** Time passes between two overviews, too. */
export function tick() {
  for (const row of byId("windows").tBodies[0].children) row.tick();
}

export function recent({ recent: found, status }, open) {
  byId("recent").parentElement.hidden = !found.length;
  byId("recent-none").hidden = found.length > 0;
  put(byId("recent-note"), found.length ? `${words.number(found.length)} of ${words.number(status.requests)}` : "");
  keep(byId("recent").tBodies[0], found, (one) => `${one.namespace}/${one.name}`, (one) => requestRow(one, open));
}

function requestRow(first, open) {
  const name = make("span", { class: "name" });
  const link = make("a", { class: "place", href: `/v1/alerts/${first.fingerprint}` }, `${first.namespace} / ${first.name}`);
  const state = make("span");
  const problems = make("td", { class: "number wide" });
  const count = make("td", { class: "number" });
  const taken = make("td", { class: "number wide quiet" });
  const button = make("button", { type: "button", "aria-label": `Copy the kubectl command for ${first.name}`, title: words.command(first) }, "kubectl");
  const row = make("tr", {}, make("td", {}, name, link), make("td", {}, state), problems, count, taken, make("td", { class: "number wide" }, button));
  let seen = null;
  row.addEventListener("animationend", () => row.classList.remove("fresh"));
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(first);
  });
  button.addEventListener("click", async () => told(button, await copy(words.command(first))));
  row.show = (one) => {
    const [level, word] = words.request(one);
    put(name, one.signal || "(no name)");
    mark(state, level, word);
    put(problems, one.problems === null ? "1" : words.number(one.problems));
    put(count, words.number(one.occurrenceCount) + (one.unconfirmed ? ` + ${words.number(one.unconfirmed)}` : ""));
    put(taken, words.ago(one.takenSecondsAgo));
    const changed = `${one.occurrenceCount} ${one.phase} ${one.open} ${one.resolved}`;
    if (seen !== null && seen !== changed) flash(row);
    seen = changed;
  };
  return row;
}

/** Say on a button, and to those who listen, whether something was copied. */
export function told(button, done) {
  const before = button.dataset.text ?? button.textContent;
  button.dataset.text = before;
  put(button, done ? "copied" : "not allowed");
  put(byId("announcer"), done ? "The command is copied." : "The browser does not let the page copy.");
  clearTimeout(button.timer);
  button.timer = setTimeout(() => put(button, before), 1500);
}

function flash(row) {
  row.classList.remove("fresh");
  void row.offsetWidth; // so that it begins anew
  row.classList.add("fresh");
}

export function parts({ status }, news) {
  const shown = Object.entries(status.breakers).map(([name, report]) => [words.NAMES[name] ?? name, ...words.breaker(report)]);
  for (const [name, , word, why] of shown) news.of(`breaker ${name}`, word, `${name}: ${word}. ${why}`);
  if (!status.synced) shown.push(["Requests", "bad", "not watched", status.watchError ?? "the first list is not here yet"]);
  for (const [name, report] of Object.entries(status.components)) {
    if (!report.ok && !["redis", "kubernetes", "writes"].includes(name)) shown.push([name, "warn", "not well", report.detail]);
  }
  for (const [name, task] of Object.entries(status.tasks)) {
    if (!task.running) shown.push([`Task ${name}`, "bad", "not running", task.error]);
  }
  keep(byId("breakers"), shown, ([name]) => name, partLine);
}

function partLine() {
  const name = make("span");
  const state = make("span");
  const why = make("p", { class: "why" });
  const made = make("li", {}, make("div", { class: "line" }, name, state), why);
  made.show = ([title, level, word, text]) => {
    put(name, title);
    mark(state, level, word);
    put(why, text);
    why.hidden = !text;
  };
  return made;
}

export function waits({ status, windows: found }) {
  const facts = [
    ["Requests in the queue", words.number(status.queue.depth), status.queue.failing ? "warn" : ""],
    ["Problems unconfirmed here", words.number(status.unconfirmed), ""],
    ["Windows that collect", found ? words.number(Math.max(status.windows, found.length)) : "not known", ""],
  ];
  if (status.queue.failing) facts.push(["Writes to Kubernetes", "fail now", "bad"]);
  if (status.journal) facts.push(["Journal", status.journal.trouble || `${words.number(status.journal.bytes / 1024)} KiB`, status.journal.trouble ? "bad" : ""]);
  keep(byId("waits"), facts, ([name]) => name, fact);
}

function fact() {
  const name = make("dt");
  const value = make("dd");
  const made = make("div", {}, name, value);
  made.show = ([title, text, level]) => {
    put(name, title);
    put(value, text);
    value.dataset.level = level;
  };
  return made;
}

export function faults({ faults: found }, news) {
  byId("faults-card").hidden = found === null;
  byId("faults-none").hidden = Boolean(found?.length);
  const shown = (found ?? []).map((one) => [
    words.NAMES[one.target] ?? one.target,
    "warn",
    `${one.mode}, ${words.number(one.pct)} %`,
    `${one.delaySeconds ? `${Math.round(one.delaySeconds * 1000)} ms late; ` : ""}${words.number(one.struck)} of ${words.many(one.calls, "call")} struck; ends in ${words.span(one.remainingSeconds)}`,
  ]);
  keep(byId("faults"), shown, ([name]) => name, partLine);
  news.of("faults", shown.map(([name, , word]) => `${name} ${word}`).join(), shown.length ? `Faults are injected: ${shown.map(([name, , word]) => `${name}, ${word}`).join("; ")}` : "No fault is injected any more.");
}

export function warnings({ status }) {
  byId("warnings-none").hidden = status.warnings.length > 0;
  keep(byId("warnings"), status.warnings, (text) => text.replace(/\d+/g, "#"), () => {
    const made = make("li");
    made.show = (text) => put(made, text);
    return made;
  });
}
