// How figures and times are written. Money, shares and prices arrive as decimals in strings and stay exact:
// they are rounded on their digits, never as floats.

const GROUPS = /\B(?=(\d{3})+(?!\d))/g;
const LOCALE = "en-GB"; // 24 hours, and the day before the month.

/** Split a decimal into sign, whole part and fraction. */
function parts(text) {
  const negative = text.startsWith("-");
  const [whole, fraction = ""] = text.replace(/^[-+]/, "").split(".");
  return { negative, whole, fraction };
}

/** Round a decimal to so many places: "floor", "ceiling" or "nearest" (half up, of the magnitude). */
export function round(text, places, way = "nearest") {
  const { negative, whole, fraction } = parts(text);
  const kept = fraction.slice(0, places).padEnd(places, "0");
  const rest = fraction.slice(places);
  let digits = BigInt(whole + kept);
  const away = { nearest: rest[0] >= "5", floor: negative && /[1-9]/.test(rest), ceiling: !negative && /[1-9]/.test(rest) };
  if (away[way]) digits += 1n;
  const all = digits.toString().padStart(places + 1, "0");
  const cut = all.length - places;
  const sign = negative && digits !== 0n ? "-" : "";
  return sign + all.slice(0, cut) + (places ? `.${all.slice(cut)}` : "");
}

function grouped(text) {
  const [whole, fraction] = text.split(".");
  return whole.replace(GROUPS, ",") + (fraction === undefined ? "" : `.${fraction}`);
}

/** $1,234.50 */
export function dollars(text) {
  if (text === null || text === undefined) return "–";
  const rounded = round(text, 2);
  return rounded.startsWith("-") ? `−$${grouped(rounded.slice(1))}` : `$${grouped(rounded)}`;
}

/** Add decimals up, exactly. */
export function sum(texts) {
  const places = Math.max(0, ...texts.map((each) => parts(each).fraction.length));
  let total = 0n;
  for (const each of texts) {
    const { negative, whole, fraction } = parts(each);
    const digits = BigInt(whole + fraction.padEnd(places, "0"));
    total += negative ? -digits : digits;
  }
  const digits = (total < 0n ? -total : total).toString().padStart(places + 1, "0");
  const cut = digits.length - places;
  return `${total < 0n ? "-" : ""}${digits.slice(0, cut)}${places ? `.${digits.slice(cut)}` : ""}`;
}

/** A price: two decimals, below a dollar four digits. */
export function price(text, way = "nearest") {
  if (text === null || text === undefined) return "–";
  const { whole, fraction } = parts(text);
  const small = !/[1-9]/.test(whole) && /[1-9]/.test(fraction);
  return grouped(round(text, small ? fraction.search(/[1-9]/) + 4 : 2, way));
}

/** Shares, with all the digits that they have. */
export function shares(text) {
  const { negative, whole, fraction } = parts(text);
  const digits = fraction.replace(/0+$/, "");
  return `${negative ? "−" : ""}${grouped(whole)}${digits ? `.${digits}` : ""}`;
}

/** +2.8 %, of a ratio; it is never broken in two. */
export function percent(ratio) {
  const tenths = (Number(ratio) * 100).toFixed(1);
  const sign = Number(tenths) > 0 ? "+" : Number(tenths) < 0 ? "−" : "±";
  return `${sign}${tenths.replace("-", "")}\u00a0%`;
}

export function count(number) {
  return number.toLocaleString(LOCALE);
}

/** "3 positions", "1 position" */
export function several(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** How long ago, or for how long: "now", "12 s", "4 min", "3 h", "2 d". */
export function span(seconds) {
  if (seconds < 2) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function ago(seconds) {
  return seconds < 2 ? "now" : `${span(seconds)} ago`;
}

/** What is left of a time: "14 min 05 s", "42 s". */
export function left(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

const clockFormat = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteFormat = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(LOCALE, { weekday: "short", day: "numeric", month: "short" });
const oldDayFormat = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" });

/** The time of day, here. */
export const clock = (at) => clockFormat.format(new Date(at));
export const minute = (at) => minuteFormat.format(new Date(at));

/** The day, here: with its year where that is not this one. */
export function day(at) {
  const when = new Date(at);
  return (when.getFullYear() === new Date().getFullYear() ? dayFormat : oldDayFormat).format(when);
}

/** Write the instants in a sentence as this machine's clock has them: they come as the journal does. */
export function readable(text) {
  return text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (at) => {
    const here = clock(at);
    return day(at) === day(Date.now()) ? here : `${day(at)}, ${here}`;
  });
}

/** The same instant as the logs have it. */
export const utc = (at) => `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
export const utcDay = (at) => new Date(at).toISOString().slice(0, 10);
