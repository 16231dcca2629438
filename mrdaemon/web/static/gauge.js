// The gauge of a strike zone: its ends are the edges, its middle is the target, and the value moves in it.

import { dollars, percent, price } from "./format.js";
import { set, setText, svg } from "./dom.js";
import { nearness } from "./store.js";

const EDGE = 15; // Percent of the width that lie outside of the zone at either side.
const MIDDLE = 50;
const REACH = MIDDLE - EDGE;
const LINE = 31; // Where the line of the zone runs, in pixels from above.
const HOT = 0.8; // From here on a value is near its edge.

/** Give where a value stands, in percent of the width. The two halves of a zone need not be equally wide. */
function place(position) {
  const [value, target] = [Number(position.value), Number(position.target)];
  const width = value <= target ? target - Number(position.lower) : Number(position.upper) - target;
  return Math.min(Math.max(MIDDLE + ((value - target) / width) * REACH, 1), 99);
}

/** Say in words what the gauge shows. */
function spoken(position, near) {
  if (near === null) return "no price yet";
  const above = Number(position.value) > Number(position.target);
  const where =
    near >= 1
      ? `at or beyond the ${above ? "upper" : "lower"} edge`
      : `${Math.round(near * 100)} percent of the way to the ${above ? "upper" : "lower"} edge`;
  return `${dollars(position.value)}, target ${dollars(position.target)}, ${where}`;
}

export class Gauge {
  #host;
  #parts;

  constructor(host) {
    this.#host = host;
    const at = (x) => ({ x1: `${x}%`, x2: `${x}%` });
    const text = (x, y, kind, anchor = "middle") => svg("text", { x: `${x}%`, y, class: kind, "text-anchor": anchor });
    this.#parts = {
      pull: svg("rect", { class: "pull", y: LINE - 4, height: 8 }),
      mark: svg("svg", { class: "mark", overflow: "visible", x: "50%" }),
      worth: svg("text", { class: "worth", y: 13 }),
      lower: text(EDGE, LINE + 22, "edge-value"),
      target: text(MIDDLE, LINE + 22, "target-value"),
      upper: text(100 - EDGE, LINE + 22, "edge-value"),
      buy: text(EDGE, LINE + 38, "next buy"),
      sell: text(100 - EDGE, LINE + 38, "next sell"),
      off: text(MIDDLE, LINE + 38, "off"),
    };
    const { pull, mark, worth, ...texts } = this.#parts;
    mark.append(svg("rect", { class: "needle", x: -2, y: LINE - 12, width: 4, height: 24, rx: 2 }), worth);
    host.append(
      svg(
        "svg",
        { width: "100%", height: LINE + 44, "aria-hidden": "true", focusable: "false" },
        svg("line", { class: "beyond", x1: "0%", x2: `${EDGE}%`, y1: LINE, y2: LINE }),
        svg("line", { class: "beyond", x1: `${100 - EDGE}%`, x2: "100%", y1: LINE, y2: LINE }),
        svg("rect", { class: "zone", x: `${EDGE}%`, width: `${2 * REACH}%`, y: LINE - 4, height: 8 }),
        pull,
        svg("line", { class: "edge", ...at(EDGE), y1: LINE - 9, y2: LINE + 9 }),
        svg("line", { class: "edge", ...at(100 - EDGE), y1: LINE - 9, y2: LINE + 9 }),
        svg("line", { class: "target", ...at(MIDDLE), y1: LINE - 6, y2: LINE + 6 }),
        mark,
        ...Object.values(texts),
      ),
    );
  }

  draw(position) {
    const near = nearness(position);
    this.#say(position, near);
    const { pull, mark, worth, lower, target, upper, buy, sell, off } = this.#parts;
    setText(lower, position.lower === null ? "" : dollars(position.lower));
    setText(target, dollars(position.target));
    setText(upper, position.upper === null ? "" : dollars(position.upper));
    // What is shown never promises too much: rounded away from the zone.
    setText(buy, position.accumulate_at === null ? "" : `buys at ${price(position.accumulate_at, "floor")}`);
    setText(sell, position.trim_at === null ? "" : `sells at ${price(position.trim_at, "ceiling")}`);
    setText(off, position.deviation === null ? "" : percent(position.deviation));
    set(this.#host, "data-empty", near === null ? "" : null);
    if (near === null) {
      set(mark, "x", `${MIDDLE}%`);
      set(pull, "width", "0%");
      setText(worth, "no price yet");
      set(worth, "text-anchor", "middle");
      return;
    }
    const x = place(position);
    set(mark, "x", `${x.toFixed(2)}%`);
    set(pull, "x", `${Math.min(x, MIDDLE).toFixed(2)}%`);
    set(pull, "width", `${Math.abs(x - MIDDLE).toFixed(2)}%`);
    setText(worth, dollars(position.value));
    set(worth, "text-anchor", x < 12 ? "start" : x > 88 ? "end" : "middle");
    set(this.#host, "data-side", x < MIDDLE ? "buy" : "sell");
    set(this.#host, "data-near", near >= 1 ? "beyond" : near >= HOT ? "hot" : null);
  }

  #say(position, near) {
    set(this.#host, "aria-label", `Strike zone of ${position.symbol}`);
    set(this.#host, "aria-valuemin", position.lower ?? 0);
    set(this.#host, "aria-valuemax", position.upper ?? 0);
    set(this.#host, "aria-valuenow", position.value ?? position.target);
    set(this.#host, "aria-valuetext", spoken(position, near));
  }
}
