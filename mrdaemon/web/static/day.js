// The day's prices of one symbol as a chart of one position: its line, its signals, its next prices.

import { dollars, price } from "./format.js";

export const BUY = "buy";
export const SELL = "sell";
export const sideOf = (side) => (side === "accumulate" ? BUY : SELL);

/** Give what a chart of a symbol's prices shows, from its line and one position in it. */
export function drawing(position, line) {
  const marks = line.signals.map(({ id, at, side, price: signalled, amount }) => {
    const way = sideOf(side);
    return { id, x: at, y: Number(signalled), side: way, title: `${way} ${dollars(amount)} at ${price(signalled)}` };
  });
  const levels = [];
  if (position.accumulate_at !== null) levels.push({ y: Number(position.accumulate_at), kind: BUY });
  if (position.trim_at !== null) levels.push({ y: Number(position.trim_at), kind: SELL });
  return { points: line.points, marks, levels };
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
