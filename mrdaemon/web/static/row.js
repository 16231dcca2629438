// One position in the list. It is made small, with its name alone, and filled once somebody sees it.

import { partsOf, set, setText, show, stamp } from "./dom.js";
import { ago, price, readable, utcDay } from "./format.js";
import { Chart } from "./chart.js";
import { drawing, spokenDay } from "./day.js";
import { Detail } from "./detail.js";
import { Gauge } from "./gauge.js";
import { isStopped, keyOf } from "./store.js";

const MODES = { auto: "trades", approve: "asks", alert: "tells" };
const DAY_HEIGHT = 60;
const FEW_MARKS = 12; // Signals in the small chart; all of them are in the large one.

export class Row {
  element = stamp("position");
  /** Whether it is near enough to the window to be drawn. */
  isSeen = false;

  #parts = partsOf(this.element);
  #store;
  #prices;
  #commands;
  #gauge = null;
  #day = null;
  #detail = null;
  #several;

  constructor(position, { store, prices, commands }) {
    [this.#store, this.#prices, this.#commands] = [store, prices, commands];
    this.key = keyOf(position);
    this.symbol = position.symbol;
    this.element.id = `position-${this.key}`;
    this.element.dataset.key = this.key;
    const { open, detail } = this.#parts;
    setText(open, position.symbol);
    detail.id = `detail-${this.key}`;
    set(open, "aria-controls", detail.id);
    open.addEventListener("click", () => this.toggle());
    this.element.addEventListener("click", (event) => {
      if (event.target.closest("button, a, input, .detail, .remarks") === null && !getSelection().toString()) this.toggle();
    });
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#detail !== null) {
        this.toggle();
        open.focus();
      }
    });
  }

  /** The button that opens it, for the keyboard. */
  get button() {
    return this.#parts.open;
  }

  toggle() {
    const { open, detail } = this.#parts;
    if (this.#detail === null) {
      this.#detail = new Detail(detail, { store: this.#store, prices: this.#prices, commands: this.#commands, key: this.key });
      this.draw();
    } else {
      this.#detail = null;
      detail.replaceChildren();
    }
    show(detail, this.#detail !== null);
    set(open, "aria-expanded", String(this.#detail !== null));
    this.element.classList.toggle("is-open", this.#detail !== null);
  }

  draw() {
    const position = this.#store.positions.get(this.key);
    if (position === undefined) return;
    if (this.#gauge === null) {
      this.#gauge = new Gauge(this.#parts.gauge);
      this.#day = new Chart(this.#parts.day, DAY_HEIGHT);
    }
    const { mode, remarks } = this.#parts;
    // Where everything is halted, the page says so in large: a row only says what is its own.
    const isStopping = isStopped(position) || (position.trading === "HALTED" && this.#store.status?.trading !== "HALTED");
    set(this.element, "data-trouble", position.retired ? "retired" : isStopping ? "stopped" : position.stale ? "stale" : null);
    setText(mode, `${position.portfolio} · ${MODES[position.mode]}`);
    setText(this.#parts.price, price(position.price));
    this.drawAge();
    this.#gauge.draw(position);
    setText(remarks, readable(position.remarks.join("; ")));
    show(remarks, position.remarks.length > 0);
    const line = this.#prices.line(this.symbol);
    const drawn = drawing(position, line);
    this.#day.draw({ ...drawn, marks: drawn.marks.slice(-FEW_MARKS), label: spokenDay(position, line) });
    this.#detail?.draw(position, line);
  }

  drawAge() {
    const position = this.#store.positions.get(this.key);
    if (position === undefined || this.#gauge === null) return;
    setText(this.#parts.age, this.#ageOf(position));
  }

  #ageOf(position) {
    if (position.price === null) return "";
    if (this.#store.isRecording) return utcDay(this.#store.now());
    const age = this.#store.age(position);
    return age === null ? "remembered" : ago(age);
  }
}
