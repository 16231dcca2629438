// Each portfolio's reserve: what there is of it, and how it went.

import { get } from "./api.js";
import { Chart } from "./chart.js";
import { arrange, onceAFrame, partsOf, setText, stamp } from "./dom.js";
import { day, dollars } from "./format.js";

const HEIGHT = 64;
const AGAIN = 10 * 60 * 1000; // Milliseconds after which the whole line is asked for anew.
const MOST = 2000; // Points that this page adds by itself.

export class Reserves {
  #store;
  #list = document.getElementById("reserve-list");
  #cards = new Map();
  #frame = onceAFrame(() => this.#draw());

  constructor(store) {
    this.#store = store;
    store.on("status", () => this.#hear());
    store.on("connection", () => {
      if (store.connected) for (const each of this.#cards.values()) each.asked = 0;
    });
  }

  #hear() {
    const now = this.#store.now();
    for (const { name, reserve } of this.#store.status.portfolios) {
      const card = this.#card(name);
      const last = card.points[card.points.length - 1];
      if (last === undefined || last[1] !== Number(reserve)) card.points.push([now, Number(reserve)]);
      if (card.points.length > MOST * 2) card.points.splice(0, MOST);
      if (Date.now() - card.asked > AGAIN) this.#ask(name, card);
    }
    this.#frame();
  }

  #card(name) {
    if (!this.#cards.has(name)) {
      const element = stamp("reserve");
      const parts = partsOf(element);
      element.dataset.portfolio = name;
      this.#cards.set(name, { element, parts, chart: new Chart(parts.chart, HEIGHT), points: [], asked: 0 });
    }
    return this.#cards.get(name);
  }

  async #ask(name, card) {
    card.asked = Date.now();
    try {
      const { points } = await get(`/api/reserve/${encodeURIComponent(name)}`);
      const all = points.map(([at, value]) => [at, Number(value)]);
      const known = all.slice(Math.max(0, all.findIndex(([, value]) => value !== 0))); // Before, it was not there yet.
      const end = known.length ? known[known.length - 1][0] : -Infinity;
      card.points = [...known, ...card.points.filter(([at]) => at > end)];
      this.#frame();
    } catch {
      card.asked = Date.now() - AGAIN + 10000; // Away, or busy: in ten seconds again.
    }
  }

  #draw() {
    const portfolios = this.#store.status.portfolios;
    arrange(this.#list, portfolios.map((each) => this.#card(each.name).element));
    const now = this.#store.now();
    for (const each of portfolios) {
      const { parts, chart, points } = this.#card(each.name);
      setText(parts.name, each.name);
      setText(parts.now, dollars(each.reserve));
      const said = [`${dollars(each.available)} to spend`];
      if (Number(each.reserved) !== 0) said.push(`${dollars(each.reserved)} reserved`);
      if (Number(each.floor) !== 0) said.push(`floor ${dollars(each.floor)}`);
      setText(parts.rest, said.join(" · "));
      const whole = points.length && points[points.length - 1][0] < now ? [...points, [now, Number(each.reserve)]] : points;
      const since = points.length ? ` since ${day(points[0][0])}` : "";
      const levels = Number(each.floor) ? [{ y: Number(each.floor), kind: "floor" }] : [];
      chart.draw({ points: whole, levels, steps: true, label: `Reserve of ${each.name}${since}, now ${dollars(each.reserve)}` });
    }
  }
}
