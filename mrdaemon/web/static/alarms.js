// What is wrong, big and clear: the worst first, and what to do about it.

import { arrange, html, onceAFrame, set, setText } from "./dom.js";
import { clock, span, several } from "./format.js";
import { isStopped } from "./store.js";

const CRITICAL = "critical";
const WARNING = "warning";
const NOTE = "note";
const WORST = [CRITICAL, WARNING, NOTE];
const SIGN_IN = "sign-in";
const NAMES = 6; // Symbols that are named before the rest is counted.

function named(positions) {
  const symbols = [...new Set(positions.map((each) => each.symbol))];
  const rest = symbols.length - NAMES;
  return rest > 0 ? `${symbols.slice(0, NAMES).join(", ")} and ${rest} more` : symbols.join(", ");
}

/** Give what is wrong: {id, level, title, text, act}. */
export function alarmsOf(store) {
  const found = [];
  const say = (id, level, title, text, act) => found.push({ id, level, title, text, act });
  if (store.connected === false) {
    const { since, reason } = store.lost;
    const gone = `Not heard since ${clock(since)} (${span((Date.now() - since) / 1000)})`;
    const then = "What stands below is as it was then.";
    if (store.isSignedOut) {
      const text = `${gone}. ${then} The daemon goes on; it was perhaps started again, which ends sessions.`;
      say("signed-out", CRITICAL, "Signed out: this is not live", text, SIGN_IN);
    } else {
      say("connection", CRITICAL, "No connection to the daemon", `${gone}: ${reason}. ${then} It is tried again by itself.`);
    }
  }
  if (store.status === null) return found;
  ofTrading(store.status, say);
  ofPositions([...store.positions.values()].filter((each) => !each.retired), say);
  ofConnections(store.status, store.now(), say);
  return found.sort((a, b) => WORST.indexOf(a.level) - WORST.indexOf(b.level));
}

function ofTrading(status, say) {
  const how = status.halt_file ? " There is a HALT file in its state directory." : "";
  if (status.trading === "HALTED") say("halted", CRITICAL, "HALTED", `No order leaves; fills of earlier ones still count.${how}`, "resume");
  else if (status.halt_file) say("halt-file", CRITICAL, "HALT file", "There is a HALT file in the state directory: no order leaves.", "resume");
  if (status.trading === "REDUCING") say("reducing", WARNING, "REDUCING", "It sells only; nothing is bought.", "resume");
  if (status.paused) say("paused", WARNING, "Paused", "No new signals are raised; open orders live on.", "resume");
  for (const each of status.portfolios) {
    if (each.trading === "ACTIVE" || each.trading === status.trading) continue;
    say(`portfolio-${each.name}`, WARNING, `${each.name} is ${each.trading}`, "This portfolio was stopped by itself.");
  }
  const stuck = status.stuck ?? [];
  if (stuck.length > 0) say("stuck", CRITICAL, "The daemon is stuck", `${stuck.map((each) => each.reason).join("; ")}.`);
  if (status.reload && !status.reload.ok) {
    const why = status.reload.why.join("; ");
    say("reload", WARNING, "The changed configuration was refused", `${why}. The one of before is in force.`);
  }
  if (status.feed?.ended) say("ended", NOTE, "The recording is over", "No further prices come; what stands here is how it ended.");
}

function ofPositions(positions, say) {
  const stopped = positions.filter(isStopped);
  if (stopped.length > 0) {
    const title = `${several(stopped.length, "position")} stopped: ${named(stopped)}`;
    say("stopped", CRITICAL, title, "A person must look. Each says below why, and what to do.");
  }
  const stale = positions.filter((each) => each.stale);
  if (stale.length > 0) {
    const all = stale.length === positions.length;
    const title = all ? "STALE: no prices arrive" : `STALE: no price of ${named(stale)}`;
    say("stale", CRITICAL, title, "The session is open, but prices stopped. What these positions are worth is not known; nothing is traded on it.");
  }
}

function ofConnections(status, now, say) {
  for (const each of status.accounts) {
    if (each.lost !== null) {
      const gone = span((now - Date.parse(each.lost_since)) / 1000);
      say(`account-${each.name}`, WARNING, `Broker of ${each.name} is not heard`, `For ${gone}: ${each.lost}. No order leaves until it is.`);
    }
    if (each.disputed !== null) say(`clock-${each.name}`, WARNING, "The clock is in dispute", `${each.disputed}. Signals are held.`);
    if (!each.covered) say(`cover-${each.name}`, WARNING, `Cash of ${each.name} is short`, "It does not cover the reserves; accumulations are held.");
  }
  for (const each of status.streams) {
    if (each.state === "stale") say(`stream-${each.name}`, WARNING, `Stream ${each.name} is stale`, each.reason || "Prices do not arrive.");
    if (each.state === "refused") say(`stream-${each.name}`, CRITICAL, `Stream ${each.name} was refused`, each.reason);
    if (each.state === "connecting" && each.reason) say(`stream-${each.name}`, WARNING, `Stream ${each.name} is down`, each.reason);
  }
  const silent = status.channels.filter((each) => each.state === "down" || each.state === "refused");
  if (silent.length > 0) {
    const names = silent.map((each) => each.name).join(", ");
    say("channels", WARNING, `No alerts over ${names}`, "They are kept, and sent once it takes them.");
  }
}

const PATIENCE = 2000; // Milliseconds for which a stream that broke off is no alarm yet: it is mostly back at once.

export class Alarms {
  #store;
  #commands;
  #host = document.getElementById("alarms");
  #items = new Map();
  #frame = onceAFrame(() => this.#draw());

  constructor(store, commands) {
    [this.#store, this.#commands] = [store, commands];
    for (const each of ["status", "positions", "connection"]) store.on(each, this.#frame);
    setInterval(this.#frame, 1000);
  }

  #draw() {
    const isFresh = this.#store.lost !== null && Date.now() - this.#store.lost.since < PATIENCE;
    const found = alarmsOf(this.#store).filter((each) => each.id !== "connection" || !isFresh);
    arrange(this.#host, found.map((each) => this.#item(each)));
    const worst = found[0]?.level ?? null;
    set(document.documentElement, "data-alarm", worst);
    set(document.documentElement, "data-lost", found.some((each) => each.id === "connection" || each.id === "signed-out") ? "" : null);
    set(document.querySelector("link[rel=icon]"), "href", `/static/favicon${worst === CRITICAL ? "-alarm" : ""}.svg`);
    this.#title(found);
  }

  #title(found) {
    const waiting = [...this.#store.positions.values()].filter((each) => each.approval !== null).length;
    const said = found[0]?.level === CRITICAL ? `${found[0].title} · ` : waiting > 0 ? `(${waiting}) ` : "";
    const title = `${said}mrdaemon`;
    if (document.title !== title) document.title = title;
  }

  #item({ id, level, title, text, act }) {
    if (!this.#items.has(id)) this.#items.set(id, this.#make(id, act));
    const { element, parts } = this.#items.get(id);
    set(element, "data-level", level);
    setText(parts.title, title);
    setText(parts.text, text);
    return element;
  }

  #make(id, act) {
    const parts = { title: html("h2"), text: html("p") };
    const element = html("div", { class: "alarm", "data-alarm": id }, html("div", {}, parts.title, parts.text));
    if (act === SIGN_IN) {
      element.append(html("a", { class: "button quiet", href: "/login?ended" }, "Sign in"));
    } else if (act) {
      const button = html("button", { type: "button", class: "quiet" }, "Resume…");
      button.addEventListener("click", () => this.#commands.ask(act, {}));
      element.append(button);
    }
    return { element, parts };
  }
}
