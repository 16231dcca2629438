// What waits for a person: what is asked, why, how long it may wait, and both answers.

import { arrange, onceAFrame, partsOf, setText, show, stamp } from "./dom.js";
import { clock, dollars, left, percent, price, readable } from "./format.js";
import { BUY, sideOf } from "./day.js";

export class Approvals {
  #store;
  #commands;
  #reasons;
  #cards = new Map();
  #section = document.getElementById("approvals");
  #list = document.getElementById("approval-list");
  #frame = onceAFrame(() => this.#draw());

  /** `reasons(position)` gives the sentence with which a request was made, where it is known. */
  constructor(store, commands, reasons) {
    [this.#store, this.#commands, this.#reasons] = [store, commands, reasons];
    store.on("positions", this.#frame);
    store.on("news", this.#frame);
    setInterval(this.#frame, 1000);
  }

  get open() {
    return [...this.#store.positions.values()].filter((each) => each.approval !== null);
  }

  #draw() {
    const open = this.open.sort((a, b) => a.approval.expires.localeCompare(b.approval.expires));
    for (const id of this.#cards.keys()) if (!open.some((each) => each.approval.id === id)) this.#cards.delete(id);
    for (const each of open) {
      if (!this.#cards.has(each.approval.id)) this.#cards.set(each.approval.id, this.#make(each));
      this.#fill(this.#cards.get(each.approval.id), each);
    }
    arrange(this.#list, open.map((each) => this.#cards.get(each.approval.id).element));
    show(this.#section, open.length > 0);
  }

  #make(position) {
    const element = stamp("approval");
    const parts = partsOf(element);
    const { approval, symbol, portfolio } = position;
    const side = sideOf(approval.side);
    const what = `${side === BUY ? "Buy" : "Sell"} ${dollars(approval.amount)} of ${symbol}`;
    element.dataset.side = side;
    element.dataset.approval = approval.id;
    setText(parts.what, what);
    parts.yes.setAttribute("aria-label", `Approve: ${what}`);
    parts.no.setAttribute("aria-label", `Reject: ${what}`);
    parts.yes.addEventListener("click", () => this.#commands.ask("approve", { id: approval.id }, `${what}, portfolio ${portfolio}`));
    parts.no.addEventListener("click", () => this.#commands.ask("reject", { id: approval.id }, `${what}, portfolio ${portfolio}`));
    return { element, parts };
  }

  #fill({ parts }, position) {
    const { approval } = position;
    const known = this.#reasons(position);
    const off = position.deviation === null ? "" : `, ${percent(position.deviation)} off its target`;
    setText(parts.why, known ? readable(known) : `${position.symbol} is at ${price(position.price)}, worth ${dollars(position.value)}${off}.`);
    const until = Date.parse(approval.expires);
    const seconds = (until - this.#store.now()) / 1000;
    setText(parts.until, seconds > 0 ? `${left(seconds)} left, until ${clock(until)}` : "Its time is over.");
  }
}
