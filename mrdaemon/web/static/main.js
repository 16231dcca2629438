// The dashboard: one stream in, and what draws of it.

import { mayAct, signOut } from "./api.js";
import { Alarms } from "./alarms.js";
import { Announcer } from "./announce.js";
import { Approvals } from "./approvals.js";
import { Commands } from "./commands.js";
import { onceAFrame, set, setText } from "./dom.js";
import { clock, utc } from "./format.js";
import { Health } from "./health.js";
import { Positions } from "./positions.js";
import { Prices } from "./prices.js";
import { Reserves } from "./reserve.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { TimeLine } from "./timeline.js";
import { Toasts } from "./toasts.js";
import { Totals } from "./totals.js";

const store = new Store();
const stream = new Stream("/api/stream", {
  event: hear,
  open: () => store.opened(),
  lost: (reason, isSignedOut) => store.wasLost(reason, isSignedOut),
});
const commands = new Commands(new Toasts(), () => stream.again());
const prices = new Prices(store);
const timeLine = new TimeLine(store);
new Positions(store, prices, commands);
new Approvals(store, commands, (position) => reasonOf(position));
new Totals(store);
new Reserves(store);
new Health(store);
new Alarms(store, commands);
new Announcer(store);

/** Give the sentence with which a request was made, without what stands beside it anyway. */
function reasonOf(position) {
  return timeLine.newest(["approval_requested"], position)?.replace(/^Approval \d+ wanted until \S+: /, "");
}

// The bar above

const state = document.getElementById("state");
const pause = document.getElementById("pause");
const halt = document.getElementById("halt");
const signOutButton = document.getElementById("sign-out");

const bar = onceAFrame(() => {
  const { status } = store;
  const word = store.connected === false ? (store.isSignedOut ? "signed out" : "lost") : status === null ? "connecting" : status.paused && status.trading === "ACTIVE" ? "PAUSED" : status.trading;
  set(state, "data-state", store.connected === false ? "lost" : word);
  setText(document.getElementById("state-word"), word);
  setText(document.getElementById("instance"), store.instance === "mrdaemon" ? "" : store.instance);
  const at = store.now();
  setText(document.getElementById("pulse"), status === null ? "" : store.isRecording ? utc(at).slice(0, 10) : clock(at));
  for (const each of [pause, halt]) each.disabled = status === null || !store.connected;
  setText(pause, status?.paused || (status !== null && status.trading !== "ACTIVE") ? "Resume" : "Pause");
  // A tab may have the cookie, but not the right to act, which is told only to who signs in.
  for (const each of [pause, halt, signOutButton]) each.hidden = !mayAct();
  document.getElementById("sign-in").hidden = mayAct() || store.isSignedOut;
  halt.hidden ||= status?.trading === "HALTED";
});
for (const each of ["status", "connection"]) store.on(each, bar);
setInterval(bar, 1000);

pause.addEventListener("click", () => commands.ask(pause.textContent.toLowerCase(), {}));
halt.addEventListener("click", () => commands.ask("halt", {}));
signOutButton.addEventListener("click", signOut);

let version = null; // Of the daemon that this page came from.

function hear(name, data) {
  if (name === "hello") {
    version ??= data.version;
    if (data.version !== version) location.reload(); // A newer daemon has a newer page.
  }
  store.hear(name, data);
}

bar();
stream.start();
