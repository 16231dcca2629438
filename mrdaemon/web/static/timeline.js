// What happened, newest first: signals, orders, fills, what was held and what went wrong, each with its sentence.

import { get } from "./api.js";
import { arrange, html, onceAFrame, set, setText, show, svg, time } from "./dom.js";
import { clock, day, readable, utc, utcDay } from "./format.js";

const MOST = 400; // Entries that are kept on the page; "Older" asks for more.
const PAGE = 60;

const GROUPS = {
  signal: /^(signal_raised|approval_|signal_pending|signal_dropped)/,
  order: /^(order_|fill_reported|dividend_paid|fee_booked|split_applied|shares_adopted)/,
  held: /^(signal_held|print_refused|signals_paused)/,
};

/** Give the drawing of an event: its shape says what it is, its colour only repeats that. */
function sign(news) {
  const isSale = /\b(sell|sold|sale)\b/i.test(news.text);
  const shapes = {
    signal: isSale ? "M2 5h12l-6 8z" : "M8 3l6 8H2z",
    order: "M8 2a6 6 0 1 1 0 12A6 6 0 0 1 8 2z",
    held: "M4 3h3v10H4zM9 3h3v10H9z",
    trouble: "M8 1l7 13H1z",
    other: "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6z",
  };
  const kind = kindOf(news);
  const side = kind === "signal" || news.kind === "order_filled" ? (isSale ? "sell" : "buy") : "";
  return svg(
    "svg",
    { viewBox: "0 0 16 16", width: 12, height: 12, class: `sign ${kind} ${side}`, "aria-hidden": "true", focusable: "false" },
    svg("path", { d: shapes[kind] }),
  );
}

function kindOf(news) {
  for (const kind of ["signal", "held"]) if (GROUPS[kind].test(news.kind)) return kind;
  if (news.level === "critical" || news.level === "warning") return "trouble";
  return GROUPS.order.test(news.kind) ? "order" : "other";
}

export class TimeLine {
  #store;
  #news = [];
  #known = new Set();
  #drawn = "";
  /** Where older ones begin; null where there are none. */
  #before = null;
  #list = document.getElementById("news-list");
  #none = document.getElementById("news-none");
  #older = document.getElementById("news-older");
  #filter = document.getElementById("news-filter");
  #items = new Map();
  #days = new Map();
  #frame = onceAFrame(() => this.#draw());

  constructor(store) {
    this.#store = store;
    store.on("news", (news) => this.#add(news));
    store.on("connection", () => store.connected && this.#catchUp());
    this.#filter.addEventListener("change", () => this.#redraw());
    this.#older.addEventListener("click", () => this.#askOlder());
  }

  /** Give the newest sentence of some kinds about a position. */
  newest(kinds, { portfolio, symbol }) {
    return this.#news.find((each) => kinds.includes(each.kind) && each.portfolio === portfolio && each.symbol === symbol)?.text;
  }

  /** The stream goes on from where it was; what was before this page, and what no stream brought, is asked for. */
  async #catchUp() {
    try {
      const { news, before } = await get(`/api/news?limit=${PAGE}`);
      if (this.#news.length === 0) this.#before = before;
      this.#add(news);
    } catch {
      // The stream brings what is new; what is old comes with the next connection.
    }
  }

  async #askOlder() {
    this.#older.disabled = true;
    try {
      const { news, before } = await get(`/api/news?before=${this.#before}&limit=${PAGE}`);
      this.#before = before;
      this.#add(news, MOST + this.#news.length);
    } finally {
      this.#older.disabled = false;
    }
  }

  #add(news, most = Math.max(MOST, this.#list.children.length)) {
    const fresh = news.filter((each) => !this.#known.has(each.seq));
    for (const each of fresh) this.#known.add(each.seq);
    this.#news.push(...fresh);
    this.#news.sort((a, b) => b.seq - a.seq);
    for (const each of this.#news.splice(most)) {
      this.#known.delete(each.seq);
      this.#items.delete(each.seq);
      this.#before = each.seq + 1;
    }
    this.#frame();
  }

  #redraw() {
    this.#drawn = "";
    this.#frame();
  }

  #draw() {
    const wanted = this.#filter.value;
    const shown = this.#news.filter((each) => wanted === "all" || GROUPS[wanted]?.test(each.kind) || kindOf(each) === wanted);
    const names = `${wanted} ${shown.length} ${shown[0]?.seq} ${shown[shown.length - 1]?.seq}`;
    show(this.#none, shown.length === 0);
    setText(this.#none, this.#news.length === 0 ? "Nothing yet." : "Nothing of this kind.");
    show(this.#older, this.#before !== null);
    if (names === this.#drawn) return;
    this.#drawn = names;
    const children = [];
    let before = null;
    for (const each of shown) {
      const at = this.#store.isRecording ? utcDay(each.at) : day(each.at);
      if (at !== before) children.push(this.#day(at));
      before = at;
      children.push(this.#item(each));
    }
    for (const at of this.#days.keys()) if (!children.includes(this.#days.get(at))) this.#days.delete(at);
    arrange(this.#list, children); // Whoever reads further down is not moved away from where they are.
  }

  #day(at) {
    if (!this.#days.has(at)) this.#days.set(at, html("li", { class: "day", "data-day": at }, at));
    return this.#days.get(at);
  }

  #item(news) {
    if (!this.#items.has(news.seq)) {
      const text = html("p", {}, this.#store.isRecording ? news.text : readable(news.text));
      const when = this.#store.isRecording ? "" : clock(news.at);
      const head = html("p", { class: "soft" }, news.symbol ? html("strong", {}, news.symbol) : "", time(when, news.at, utc(news.at)));
      const item = html("li", { class: "event" }, sign(news), html("div", {}, head, text));
      set(item, "data-kind", news.kind);
      set(item, "data-group", kindOf(news));
      this.#items.set(news.seq, item);
    }
    return this.#items.get(news.seq);
  }
}
