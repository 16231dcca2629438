// The list of positions: searched, filtered, in an order that holds still while somebody reads or points, and drawn only
// where it is seen.

import { arrange, onceAFrame, set, setText, show } from "./dom.js";
import { several } from "./format.js";
import { Row } from "./row.js";
import { isStopped, keyOf, nearness } from "./store.js";

const MANY = 60; // With more of them the needles jump: a machine without a graphics card has enough to do.
const FEW = 12; // So many are seen at a glance: they keep their places unless it is wished otherwise.
const NEAR = 0.8;
const REORDER = 3000; // Milliseconds between two orders of the list.
const KEPT = "mrdaemon-sort";

const needsLook = (each) =>
  !each.retired && (isStopped(each) || each.stale || each.approval !== null || each.remarks.length > 0);
const isNear = (each) => (nearness(each) ?? 0) >= NEAR;

const FILTERS = {
  all: () => true,
  attention: needsLook,
  near: isNear,
  auto: (each) => each.mode === "auto",
  approve: (each) => each.mode === "approve",
  alert: (each) => each.mode === "alert",
};
const number = (text) => (text === null ? -Infinity : Number(text));
const ORDERS = {
  file: () => 0,
  near: (a, b) => urgency(b) - urgency(a),
  name: (a, b) => a.symbol.localeCompare(b.symbol, "en") || a.portfolio.localeCompare(b.portfolio, "en"),
  value: (a, b) => number(b.value) - number(a.value),
  off: (a, b) => (a.deviation === null) - (b.deviation === null) || number(a.deviation) - number(b.deviation),
};

/** Tell how soon a person wants to see a position: first what needs one, then by how near its edge is. */
function urgency(position) {
  if (position.retired) return -2;
  return needsLook(position) ? 1000 : (nearness(position) ?? -1);
}

export class Positions {
  #store;
  #tools;
  #rows = new Map();
  #dirty = new Set();
  #list = document.getElementById("rows");
  #none = document.getElementById("none");
  #tally = document.getElementById("tally");
  #search = document.getElementById("search");
  #filter = document.getElementById("filter");
  #sort = document.getElementById("sort");
  #mustOrder = true;
  #orderedAt = 0;
  #shown = [];
  #frame = onceAFrame(() => this.#draw());
  #eye = new IntersectionObserver((entries) => this.#look(entries), { rootMargin: "300px" });

  constructor(store, prices, commands) {
    this.#store = store;
    this.#tools = { store, prices, commands };
    store.on("positions", (changed, gone) => this.#hear(changed, gone));
    store.on("status", () => this.#frame());
    prices.onChange((symbol) => this.#touch((row) => row.symbol === symbol));
    const chosen = kept();
    if (chosen in ORDERS) this.#sort.value = chosen;
    else this.#sort.dataset.own = "";
    this.#sort.addEventListener("change", () => {
      delete this.#sort.dataset.own;
      keep(this.#sort.value);
      this.#reorder();
    });
    this.#filter.addEventListener("change", () => this.#reorder());
    this.#search.addEventListener("input", () => this.#reorder());
    document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("keydown", (event) => this.#press(event));
    setInterval(() => this.#tick(), 1000);
  }

  #hear(changed, gone) {
    for (const each of changed) {
      const key = keyOf(each);
      if (!this.#rows.has(key)) {
        const row = new Row(each, this.#tools);
        this.#rows.set(key, row);
        this.#eye.observe(row.element);
        this.#mustOrder = true;
      }
      this.#dirty.add(key);
    }
    for (const key of gone) {
      const row = this.#rows.get(key);
      if (row === undefined) continue;
      this.#eye.unobserve(row.element);
      this.#rows.delete(key);
      this.#dirty.delete(key);
      this.#mustOrder = true;
    }
    this.#frame();
  }

  #look(entries) {
    const rows = new Map([...this.#rows.values()].map((each) => [each.element, each]));
    for (const each of entries) {
      const row = rows.get(each.target);
      if (row !== undefined) row.isSeen = each.isIntersecting;
    }
    this.#frame();
  }

  #touch(wanted) {
    for (const row of this.#rows.values()) if (wanted(row)) this.#dirty.add(row.key);
    this.#frame();
  }

  #reorder() {
    this.#mustOrder = true;
    this.#frame();
  }

  /** Once a second: ages go on, and an order that follows the prices is looked at again. */
  #tick() {
    for (const row of this.#rows.values()) if (row.isSeen) row.drawAge();
    if (performance.now() - this.#orderedAt > REORDER && !this.#isRead()) this.#reorder();
  }

  /** Tell whether somebody points at the list, or is in it by keyboard: then nothing moves away under them. */
  #isRead() {
    return this.#list.matches(":hover, :focus-within");
  }

  #draw() {
    if (this.#mustOrder) this.#order();
    this.#count();
    for (const key of this.#dirty) {
      const row = this.#rows.get(key);
      if (row === undefined) this.#dirty.delete(key);
      else if (row.isSeen) {
        row.draw();
        this.#dirty.delete(key);
      }
    }
  }

  #order() {
    this.#mustOrder = false;
    this.#orderedAt = performance.now();
    if ("own" in this.#sort.dataset) this.#sort.value = this.#rows.size > FEW ? "near" : "file";
    const words = this.#search.value.trim().toLowerCase().split(/\s+/);
    const isMeant = (each) => words.every((word) => `${each.portfolio}/${each.symbol} ${each.mode}`.toLowerCase().includes(word));
    this.#shown = [...this.#store.positions.values()]
      .filter((each) => FILTERS[this.#filter.value](each) && isMeant(each))
      .sort(ORDERS[this.#sort.value]);
    arrange(this.#list, this.#shown.map((each) => this.#rows.get(keyOf(each)).element));
    set(this.#list, "data-many", this.#shown.length > MANY ? "" : null);
    const isEmpty = this.#shown.length === 0;
    show(this.#none, isEmpty);
    if (isEmpty) setText(this.#none, this.#rows.size === 0 ? "No positions yet." : "No position is like that.");
  }

  #count() {
    const all = [...this.#store.positions.values()];
    const near = all.filter(isNear).length;
    const look = all.filter(needsLook).length;
    const said = [this.#shown.length === all.length ? several(all.length, "position") : `${this.#shown.length} of ${all.length}`];
    if (near > 0) said.push(`${near} near an edge`);
    if (look > 0) said.push(`${look} to look at`);
    setText(this.#tally, said.join(" · "));
    set(this.#tally, "data-look", look > 0 ? "" : null);
  }

  // The keyboard

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null) return;
    const isTyping = event.target.closest("input, select, textarea") !== null;
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      this.#search.focus();
      this.#search.select();
    } else if (event.key === "Escape" && event.target === this.#search) {
      this.#search.value = "";
      this.#reorder();
      this.#search.blur();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.#step(event, event.key === "ArrowDown" ? 1 : -1);
    }
  }

  /** Move from one position to the next, from the search field into the list, and back. */
  #step(event, by) {
    const element = event.target.closest(".position");
    const index = element === null ? -1 : this.#shown.findIndex((each) => keyOf(each) === element.dataset.key);
    if (element === null && event.target !== this.#search) return;
    const next = this.#shown[index + by];
    event.preventDefault();
    if (next !== undefined) this.#rows.get(keyOf(next)).button.focus();
    else if (index === 0) this.#search.focus();
  }
}

function kept() {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // Storage is switched off.
  }
}

function keep(order) {
  try {
    localStorage.setItem(KEPT, order);
  } catch {
    // It holds for as long as the page does.
  }
}
