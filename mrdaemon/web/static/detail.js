// A position that was opened: its day in large, its figures, and why it does or does not trade, guard by guard.

import { get, inPath } from "./api.js";
import { Chart } from "./chart.js";
import { drawing, sideOf, spokenDay } from "./day.js";
import { html, partsOf, set, setText, stamp } from "./dom.js";
import { clock, day, dollars, minute, percent, price, readable, shares, utcDay } from "./format.js";
import { isStopped } from "./store.js";

const AGAIN = 5000; // Milliseconds after which it is explained anew, where something changed.
const HEIGHT = 200;
const APART = 0.09; // Of the height, between two prices that are written beside it.

export class Detail {
  #parts;
  #store;
  #chart;
  #commands;
  #key;
  #explained = 0;
  #facts = new Map();

  constructor(host, { store, commands, key }) {
    [this.#store, this.#commands, this.#key] = [store, commands, key];
    const element = stamp("detail");
    this.#parts = partsOf(element);
    this.#chart = new Chart(this.#parts.chart, HEIGHT);
    host.replaceChildren(element);
  }

  draw(position, line) {
    const { first, last, day: dayPart } = this.#parts;
    const isRecording = this.#store.isRecording;
    const drawn = drawing(position, line);
    const range = this.#chart.draw({ ...drawn, label: spokenDay(position, line) });
    this.#drawScale(range, drawn.levels);
    const ends = range === null ? null : [line.points[0][0], line.points[line.points.length - 1][0]];
    setText(first, ends === null ? "" : isRecording ? utcDay(ends[0]) : minute(ends[0]));
    setText(last, ends === null ? "" : isRecording ? utcDay(ends[1]) : clock(ends[1]));
    setText(dayPart, ends === null ? "No prices of today yet." : isRecording ? "the recording so far" : day(ends[1]));
    this.#drawFacts(position);
    this.#drawActs(position);
    this.#explain(position);
  }

  /** Write prices beside the chart: the newest, the next ones, the highest and the lowest, as far as there is room. */
  #drawScale(range, levels) {
    const wanted = range === null ? [] : [{ y: range.newest, kind: "" }, ...levels, { y: range.highest, kind: "" }, { y: range.lowest, kind: "" }];
    const chosen = [];
    for (const each of wanted) {
      const at = range.place(each.y);
      if (at < 0 || at > 1 || chosen.some((other) => Math.abs(other.at - at) < APART)) continue;
      chosen.push({ ...each, at });
    }
    this.#parts.scale.replaceChildren(
      ...chosen.map(({ y, kind, at }) => {
        const label = html("span", { class: kind }, price(String(y)));
        label.style.top = `${(at * 100).toFixed(1)}%`;
        return label;
      }),
    );
  }

  #drawFacts(position) {
    const facts = {
      Shares: shares(position.shares),
      Value: dollars(position.value),
      Target: dollars(position.target),
      "Off target": position.deviation === null ? "–" : percent(position.deviation),
      Signals: String(position.signals),
      "Buys, sells": `${position.buys}, ${position.sells}`,
      Realized: dollars(position.realized),
      Order: position.order === null ? "none" : `${position.order}: ${position.order_state}`,
    };
    for (const [name, text] of Object.entries(facts)) {
      if (!this.#facts.has(name)) {
        const value = html("dd");
        this.#facts.set(name, value);
        this.#parts.facts.append(html("div", {}, html("dt", {}, name), value));
      }
      setText(this.#facts.get(name), text);
    }
  }

  #drawActs(position) {
    const { acts } = this.#parts;
    const where = { symbol: position.symbol, portfolio: position.portfolio };
    const wanted = [];
    if (position.paused || isStopped(position) || position.trading !== "ACTIVE") wanted.push(["resume", where, "go"]);
    if (!position.paused) wanted.push(["pause", { symbol: position.symbol }, "quiet"]);
    if (position.trading !== "HALTED") wanted.push(["halt", where, "danger"]);
    const names = wanted.map(([name]) => name).join(" ");
    if (acts.dataset.drawn === names) return;
    acts.dataset.drawn = names;
    acts.replaceChildren(
      ...wanted.map(([name, fields, kind]) => {
        const button = html("button", { type: "button", class: kind }, `${name[0].toUpperCase()}${name.slice(1)} ${position.symbol}`);
        button.addEventListener("click", () => this.#commands.ask(name, fields));
        return button;
      }),
    );
  }

  async #explain(position) {
    const again = this.#store.isRecording ? AGAIN / 5 : AGAIN; // There, a day is over in a moment.
    if (this.#explained && performance.now() - this.#explained < again) return;
    this.#explained = performance.now();
    try {
      const query = new URLSearchParams({ portfolio: position.portfolio });
      const found = await get(`/api/explain/${inPath(position.symbol)}?${query}`);
      const one = found.find((each) => each.portfolio === position.portfolio);
      if (one !== undefined) this.#drawWhy(one);
    } catch {
      // The daemon is away, which the page says in large already. It is asked again.
    }
  }

  #drawWhy(explanation) {
    const sides = explanation.sides.map((each) => {
      const objections = each.checks.filter((check) => !check.passes);
      const guards = html("ul");
      for (const check of objections) {
        const text = check.remedy ? `${check.reason}; ${check.remedy}` : check.reason;
        guards.append(html("li", {}, html("strong", {}, check.guard), `: ${readable(text)}`));
      }
      const passed = `${each.checks.length - objections.length} of ${each.checks.length} guards agree.`;
      return html(
        "div",
        { class: `side ${sideOf(each.side)}` },
        html("h4", {}, each.side === "accumulate" ? "The next buy" : "The next sale"),
        html("p", {}, readable(each.outcome)),
        guards,
        html("p", { class: "soft" }, passed),
      );
    });
    const drawn = sides.map((each) => each.textContent).join("\n");
    if (this.#parts.why.dataset.drawn === drawn) return;
    set(this.#parts.why, "data-drawn", drawn);
    this.#parts.why.replaceChildren(...sides);
  }
}
