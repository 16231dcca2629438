// Everything in all: what the positions are worth, what is in reserve, what was realized.

import { onceAFrame, setText, show } from "./dom.js";
import { dollars, percent, sum } from "./format.js";

export class Totals {
  #store;
  #host = document.getElementById("totals");
  #value = document.getElementById("total-value");
  #off = document.getElementById("total-off");
  #reserve = document.getElementById("total-reserve");
  #realized = document.getElementById("total-realized");
  #frame = onceAFrame(() => this.#draw());

  constructor(store) {
    this.#store = store;
    store.on("positions", this.#frame);
    store.on("status", this.#frame);
  }

  #draw() {
    const positions = [...this.#store.positions.values()];
    const valued = positions.filter((each) => each.value !== null && !each.retired);
    show(this.#host, positions.length > 0);
    const worth = sum(valued.map((each) => each.value));
    const target = Number(sum(valued.map((each) => each.target)));
    setText(this.#value, dollars(worth));
    setText(this.#off, target === 0 ? "–" : percent(Number(worth) / target - 1));
    setText(this.#reserve, dollars(sum((this.#store.status?.portfolios ?? []).map((each) => each.reserve))));
    setText(this.#realized, dollars(sum(positions.map((each) => each.realized))));
  }
}
