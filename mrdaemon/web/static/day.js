// The day's prices of one symbol as a chart of one position: its line, its signals, its next prices.

import { price } from "./format.js";

export const BUY = "buy";
export const SELL = "sell";
export const sideOf = (side) => (side === "accumulate" ? BUY : SELL);

/** Give what a chart of a symbol's prices shows, from its line and one position in it. */
export function drawing(position, line, isRecording) {
  // A recording runs through days in a second: its prices are drawn one beside the other.
  const at = isRecording ? new Map(line.points.map(([ms], index) => [ms, index])) : null;
  const points = isRecording ? line.points.map(([, value], index) => [index, value]) : line.points;
  const marks = [];
  for (const each of line.signals) {
    const x = isRecording ? at.get(nearest(line.points, each.at)) : each.at;
    if (x === undefined) continue;
    const side = sideOf(each.side);
    marks.push({ id: each.id, x, y: Number(each.price), side, title: `${side} at ${price(each.price)}` });
  }
  const levels = [];
  if (position.accumulate_at !== null) levels.push({ y: Number(position.accumulate_at), kind: BUY });
  if (position.trim_at !== null) levels.push({ y: Number(position.trim_at), kind: SELL });
  return { points, marks, levels };
}

/** Give the time of the newest point that is no later than a time. */
function nearest(points, at) {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= at) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? undefined : points[low - 1][0];
}

/** Say in words what a day's line shows. */
export function spokenDay(position, line) {
  if (line.points.length < 2) return `Prices of ${position.symbol}: none yet`;
  let [low, high] = [Infinity, -Infinity];
  for (const [, each] of line.points) {
    low = Math.min(low, each);
    high = Math.max(high, each);
  }
  const signals = line.signals.length === 1 ? "1 signal" : `${line.signals.length} signals`;
  return `Prices of ${position.symbol}: between ${price(String(low))} and ${price(String(high))}, ${signals}`;
}
