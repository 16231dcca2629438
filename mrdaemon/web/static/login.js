// Trades the token for a session. An address that carries it behind the # signs in at once; what stands there never
// leaves the browser, and is taken out of the address before anything else is done.

import { ApiError, signIn } from "./api.js";

const form = document.getElementById("form");
const field = document.getElementById("token");
const refusal = document.getElementById("refusal");
const enter = document.getElementById("enter");

async function tryToken(token) {
  enter.disabled = true;
  refusal.hidden = true;
  try {
    await signIn(token);
    location.replace("/");
  } catch (error) {
    refusal.textContent = error instanceof ApiError ? error.message : String(error);
    refusal.hidden = false;
    enter.disabled = false;
    field.select();
  }
}

/** Take the token out of the address, so that neither history nor a glance at the screen has it. */
function takeFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (location.hash) history.replaceState(null, "", location.pathname);
  return found;
}

document.getElementById("ended").hidden = location.search !== "?ended";
form.addEventListener("submit", (event) => {
  event.preventDefault();
  tryToken(field.value.trim());
});

function begin() {
  const carried = takeFromAddress();
  if (carried) tryToken(carried.trim());
}

addEventListener("hashchange", begin); // The address was pasted while this page was open.
begin();
