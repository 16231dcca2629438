// What a screen reader is told by itself: changes of state, questions, fills. Never figures, and several at once in one
// sentence: a page that chatters is switched off.

import { alarmsOf } from "./alarms.js";
import { dollars, several } from "./format.js";
import { BUY, sideOf } from "./day.js";

const GATHER = 3000; // Milliseconds.

export class Announcer {
  #store;
  #host = document.getElementById("said");
  #fills = [];
  #alarms = new Map();
  #asked = new Set();

  constructor(store) {
    this.#store = store;
    store.on("news", (news) => this.#hear(news));
    setInterval(() => this.#say(), GATHER);
  }

  #hear(news) {
    for (const each of news) if (each.kind === "order_filled") this.#fills.push(each.text);
  }

  #say() {
    if (this.#store.status === null) return;
    const said = [...this.#ofAlarms(), ...this.#ofQuestions()];
    const fills = this.#fills.splice(0);
    if (fills.length === 1) said.push(fills[0]);
    else if (fills.length > 1) said.push(`${several(fills.length, "fill")}, the last: ${fills[fills.length - 1]}`);
    if (said.length > 0) this.#host.textContent = said.join(" ");
  }

  *#ofAlarms() {
    const found = new Map(alarmsOf(this.#store).map((each) => [each.id, each.title]));
    for (const [id, title] of found) if (!this.#alarms.has(id)) yield `${title}.`;
    for (const [id, title] of this.#alarms) {
      if (found.has(id)) continue;
      yield id === "connection" ? "The daemon is heard again." : `No longer: ${title}.`;
    }
    this.#alarms = found;
  }

  *#ofQuestions() {
    const open = new Set();
    for (const { approval, symbol } of this.#store.positions.values()) {
      if (approval === null) continue;
      open.add(approval.id);
      if (this.#asked.has(approval.id)) continue;
      yield `Waiting for you: ${sideOf(approval.side) === BUY ? "buy" : "sell"} ${dollars(approval.amount)} of ${symbol}.`;
    }
    this.#asked = open;
  }
}
