// The day's prices of each symbol that is looked at: asked for once, then made longer by what the stream says.

import { get, inPath } from "./api.js";

const MOST_POINTS = 1500; // Of one line; beyond that every second old one goes.
const TROUBLED = 10000; // Milliseconds after which is asked again what was not answered.
const AT_ONCE = 4; // Questions that are under way together.
const AGAIN = 15 * 60 * 1000; // Milliseconds after which a day's line is asked for anew: a day may have ended.
const RECORDING_AGAIN = 1500; // The same of a recording, which may run through days in a second.
const SIGNALS_AGAIN = 700; // Milliseconds for which news of signals is gathered.

export class Prices {
  #store;
  #lines = new Map();
  #queue = [];
  #running = 0;
  #listeners = [];
  #stale = new Set();
  #timer = null;

  constructor(store) {
    this.#store = store;
    store.on("positions", (changed) => this.#append(changed));
    store.on("news", (news) => this.#hear(news));
    store.on("connection", () => this.#caughtUp());
  }

  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Give a symbol's line: {points: [[ms, price]], signals}. Empty at first; who listens hears when it came. */
  line(symbol) {
    let line = this.#lines.get(symbol);
    if (line === undefined) {
      line = { points: [], signals: [], asked: 0 };
      this.#lines.set(symbol, line);
    }
    if (Date.now() - line.asked > this.#patience && !this.#queue.includes(symbol)) this.#ask(symbol, line);
    return line;
  }

  get #patience() {
    return this.#store.isRecording ? RECORDING_AGAIN : AGAIN;
  }

  #ask(symbol, line) {
    line.asked = Date.now();
    this.#queue.push(symbol);
    this.#next();
  }

  async #next() {
    if (this.#running >= AT_ONCE || this.#queue.length === 0) return;
    const symbol = this.#queue.pop(); // Newest first: what was just scrolled into view.
    const line = this.#lines.get(symbol);
    this.#running += 1;
    try {
      const { points, signals } = await get(`/api/prices/${inPath(symbol)}`);
      this.#take(line, points.map(([at, price]) => [at, Number(price)]), signals);
      for (const each of this.#listeners) each(symbol);
    } catch {
      line.asked = Date.now() - this.#patience + TROUBLED; // Away, or busy: in ten seconds again.
    } finally {
      this.#running -= 1;
      this.#next();
    }
  }

  /** The daemon's line counts; what the stream brought since stays behind its end. */
  #take(line, points, signals) {
    const end = points.length ? points[points.length - 1][0] : -Infinity;
    line.points = [...points, ...line.points.filter(([at]) => at > end)];
    line.signals = signals;
  }

  #append(changed) {
    const at = this.#store.now();
    for (const each of changed) {
      const line = this.#lines.get(each.symbol);
      if (line === undefined || each.price === null || this.#store.isRecording) continue;
      const seen = each.age === null ? at : at - each.age * 1000;
      const last = line.points[line.points.length - 1];
      const price = Number(each.price);
      if (last !== undefined && (seen <= last[0] || last[1] === price)) continue;
      line.points.push([seen, price]);
      if (line.points.length > MOST_POINTS) thin(line);
    }
  }

  #hear(news) {
    for (const each of news) {
      if (each.symbol && this.#lines.has(each.symbol) && /^(signal_raised|approval_requested)$/.test(each.kind)) {
        this.#stale.add(each.symbol);
      }
    }
    if (this.#stale.size === 0 || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      for (const symbol of this.#stale) this.#ask(symbol, this.#lines.get(symbol));
      this.#stale.clear();
    }, SIGNALS_AGAIN);
  }

  /** After a gap the lines that are seen are asked for again. */
  #caughtUp() {
    if (this.#store.connected) for (const line of this.#lines.values()) line.asked = 0;
  }
}

function thin(line) {
  const old = line.points.length - MOST_POINTS / 3;
  line.points = line.points.filter((_, index) => index > old || index % 2 === 0);
}
