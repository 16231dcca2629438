// How feed, streams, brokers and channels are: a word each, and why where it is not well.

import { arrange, html, onceAFrame, set, setText } from "./dom.js";
import { ago, clock, count, day, dollars, several, span } from "./format.js";

const WELL = "well";
const ODD = "odd";
const ILL = "ill";

/** Give everything that has a health: {name, state, well, more}. */
export function healthOf(status, now) {
  const found = [];
  const age = (at) => (now - Date.parse(at)) / 1000;
  const { feed } = status;
  if (feed) {
    const state = feed.ended ? "read to its end" : feed.is_recording ? "recording" : "open";
    const newest = feed.newest === null ? "no price yet" : feed.is_recording ? feed.newest.slice(0, 10) : `newest ${ago(age(feed.newest))}`;
    const refused = feed.refused ? `, ${count(feed.refused)} refused` : "";
    found.push({ name: `Prices: ${feed.name}`, state, well: WELL, more: `${several(feed.delivered, "print")}${refused}, ${newest}` });
  }
  for (const each of status.streams) {
    const well = { live: WELL, subscribed: WELL, stale: ILL, refused: ILL }[each.state] ?? ODD;
    found.push({ name: `Stream: ${each.name}`, state: each.state, well, more: each.reason || `since ${clock(each.since)}` });
  }
  for (const each of status.accounts) found.push(accountHealth(each, age));
  for (const each of status.channels) {
    const well = { up: WELL, down: ILL, refused: ILL }[each.state] ?? ODD;
    const waiting = each.waiting ? `${several(each.waiting, "alert")} waiting` : "";
    const more = [each.reason, waiting].filter(Boolean).join("; ") || (each.since ? `since ${clock(each.since)}` : "not tried yet");
    found.push({ name: `Channel: ${each.name}`, state: each.state ?? "untried", well, more });
  }
  return found;
}

function accountHealth(each, age) {
  const name = `Broker: ${each.name}`;
  if (each.lost !== null) return { name, state: "lost", well: ILL, more: `${each.lost}, for ${span(age(each.lost_since))}` };
  if (each.disputed !== null) return { name, state: "clock in dispute", well: ILL, more: each.disputed };
  const orders = each.open_orders ? `, ${several(each.open_orders, "open order")}` : "";
  const unsure = each.ambiguous ? `, ${count(each.ambiguous)} of unknown fate` : "";
  const cash = each.cash === null ? "" : `cash ${dollars(each.cash)}`;
  const more = `${cash}${orders}${unsure}`;
  if (!each.ready) return { name, state: "not compared yet", well: ODD, more };
  if (!each.covered) return { name, state: "cash short", well: ODD, more: `${more}; it does not cover the reserves` };
  return { name, state: each.broker, well: each.ambiguous ? ODD : WELL, more };
}

export class Health {
  #store;
  #list = document.getElementById("health-list");
  #about = document.getElementById("about");
  #items = new Map();
  #frame = onceAFrame(() => this.#draw());

  constructor(store) {
    this.#store = store;
    store.on("status", this.#frame);
    setInterval(this.#frame, 5000);
  }

  #draw() {
    const { status } = this.#store;
    if (status === null) return;
    const found = healthOf(status, this.#store.now());
    arrange(this.#list, found.map((each) => this.#item(each)));
    const since = status.started === null ? "" : `, since ${day(status.started)}`;
    setText(this.#about, `mrdaemon ${status.version}, process ${status.process ?? "–"}${since}. ${status.state_dir}`);
  }

  #item({ name, state, well, more }) {
    if (!this.#items.has(name)) {
      const parts = { state: html("dd", { class: "is" }), more: html("dd", { class: "soft" }) };
      this.#items.set(name, { element: html("div", {}, html("dt", {}, name), parts.state, parts.more), parts });
    }
    const { element, parts } = this.#items.get(name);
    set(element, "data-well", well);
    setText(parts.state, state);
    setText(parts.more, more);
    return element;
  }
}
