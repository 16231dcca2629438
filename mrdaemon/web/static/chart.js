// A line of prices or of dollars, with marks on it and levels across it. The line is scaled, everything else keeps its
// size: marks and texts stand at percentages.

import { set, svg } from "./dom.js";

const TALL = 1000;
const PADDING = 0.12; // Of the height, above and below the line.
const SEEN = 0.75; // A level no further outside of the line's range than this part of it is drawn, too.

/** Draw a triangle that points at a place from below (a buy) or from above (a sale). */
function triangle(side, title) {
  const path = side === "buy" ? "M0 3 L5 12 L-5 12 Z" : "M0 -3 L5 -12 L-5 -12 Z";
  return svg("path", { class: `signal ${side}`, d: path }, svg("title", {}, title));
}

export class Chart {
  #host;
  #line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  #area = svg("path", { class: "area" });
  #levels = svg("g", { class: "levels" });
  #marks = svg("g", { class: "marks" });
  #dot = svg("circle", { class: "last", r: 3 });
  #drawn = "";

  constructor(host, height) {
    this.#host = host;
    const scaled = svg("svg", { viewBox: `0 0 ${TALL} ${TALL}`, preserveAspectRatio: "none", width: "100%", height: "100%" });
    scaled.append(this.#area, this.#line);
    const whole = svg("svg", { width: "100%", height, "aria-hidden": "true", focusable: "false", overflow: "visible" });
    whole.append(this.#levels, scaled, this.#marks, this.#dot);
    host.append(whole);
  }

  /**
   * Draw it. `points` are [x, y], in order; `marks` {id, x, y, side, title}; `levels` {y, kind};
   * `steps` draws what jumps and stays. Gives what is shown, or null where there is nothing to draw: `low` and `high` of
   * the drawing, `lowest` and `highest` of the line, and `place`, which gives how far down a value is, 0 to 1.
   */
  draw({ points, marks = [], levels = [], steps = false, label }) {
    set(this.#host, "aria-label", label);
    set(this.#host, "data-empty", points.length < 2 ? "" : null);
    if (points.length < 2) {
      this.#clear();
      return null;
    }
    const range = this.#range(points, marks, levels);
    const x = (at) => ((at - range.first) / (range.last - range.first || 1)) * TALL;
    const y = (value) => (1 - (value - range.low) / (range.high - range.low)) * TALL;
    range.place = (value) => y(value) / TALL;
    let path = "";
    for (const [at, value] of points) {
      const [px, py] = [x(at).toFixed(1), y(value).toFixed(1)];
      path += path === "" ? `M${px} ${py}` : steps ? `H${px}V${py}` : `L${px} ${py}`;
    }
    set(this.#line, "d", path);
    set(this.#area, "d", `${path}V${TALL}H${x(points[0][0]).toFixed(1)}Z`);
    const [lastX, lastY] = points[points.length - 1];
    set(this.#dot, "cx", `${(x(lastX) / 10).toFixed(2)}%`);
    set(this.#dot, "cy", `${(y(lastY) / 10).toFixed(2)}%`);
    this.#drawLevels(levels.filter((each) => each.y >= range.low && each.y <= range.high), y);
    this.#drawMarks(marks.filter((each) => each.x >= range.first), x, y);
    return range;
  }

  #clear() {
    this.#line.removeAttribute("d");
    this.#area.removeAttribute("d");
    this.#levels.replaceChildren();
    this.#marks.replaceChildren();
    this.#drawn = "";
    set(this.#dot, "cx", "-9");
  }

  #range(points, marks, levels) {
    let [low, high] = [Infinity, -Infinity];
    for (const [, value] of points) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    const [lowest, highest] = [low, high];
    const first = points[0][0];
    const last = points[points.length - 1][0];
    for (const each of marks) {
      if (each.x < first) continue;
      low = Math.min(low, each.y);
      high = Math.max(high, each.y);
    }
    const reach = (high - low || Math.abs(high) * 0.01 || 1) * SEEN;
    const near = levels.filter((each) => each.y >= low - reach && each.y <= high + reach).map((each) => each.y);
    low = Math.min(low, ...near);
    high = Math.max(high, ...near);
    const padding = (high - low || Math.abs(high) * 0.002 || 1) * PADDING;
    return { low: low - padding, high: high + padding, first, last, lowest, highest, newest: points[points.length - 1][1] };
  }

  #drawLevels(levels, y) {
    while (this.#levels.children.length > levels.length) this.#levels.lastElementChild.remove();
    while (this.#levels.children.length < levels.length) this.#levels.append(svg("line", { x1: "0%", x2: "100%" }));
    levels.forEach((each, index) => {
      const line = this.#levels.children[index];
      const at = `${(y(each.y) / 10).toFixed(2)}%`;
      set(line, "class", `level ${each.kind}`);
      set(line, "y1", at);
      set(line, "y2", at);
    });
  }

  #drawMarks(marks, x, y) {
    const names = marks.map((each) => each.id).join(" ");
    if (names !== this.#drawn) {
      this.#drawn = names;
      this.#marks.replaceChildren(
        ...marks.map((each) => svg("svg", { overflow: "visible", "data-signal": each.id }, triangle(each.side, each.title))),
      );
    }
    marks.forEach((each, index) => {
      set(this.#marks.children[index], "x", `${(x(each.x) / 10).toFixed(2)}%`);
      set(this.#marks.children[index], "y", `${(y(each.y) / 10).toFixed(2)}%`);
    });
  }
}
