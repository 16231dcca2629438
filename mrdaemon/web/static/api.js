// Asking the daemon. The session's cookie lets this page look; to act it also needs the value that signing in gave,
// which this tab alone keeps, and which does for some hours.

const KEPT = "mrdaemon-csrf";
const PATIENCE = 15000; // Milliseconds for an answer.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let kept = null; // Where storage is switched off, for as long as this page is open.

function keepRight(csrf) {
  kept = csrf;
  try {
    sessionStorage.setItem(KEPT, csrf);
  } catch {
    // It is kept here.
  }
}

export function forgetRight() {
  kept = null;
  try {
    sessionStorage.removeItem(KEPT);
  } catch {
    // There was none.
  }
}

function right() {
  try {
    return sessionStorage.getItem(KEPT) ?? kept;
  } catch {
    return kept;
  }
}

export const mayAct = () => right() !== null;

/** Trade the token for a session, and for the right to act. */
export async function signIn(token) {
  const { csrf } = await ask("POST", "/api/session", { token });
  keepRight(csrf);
}

/** End the session, and leave for the page that asks for the token. */
export async function signOut() {
  try {
    await ask("DELETE", "/api/session");
  } finally {
    forgetRight();
    location.assign("/login");
  }
}

async function ask(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET" && right() !== null) headers["X-CSRF-Token"] = right();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(PATIENCE),
    });
  } catch {
    throw new ApiError(0, "The daemon cannot be reached. Whether it heard this is not known: look before you ask again.");
  }
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  throw new ApiError(answer.status, said.refused ?? said.error ?? `The daemon answered ${answer.status}.`);
}

export const get = (path) => ask("GET", path);
export const command = (name, fields) => ask("POST", `/api/commands/${name}`, fields);

/** Write a symbol into a path: a pair keeps its slash. */
export const inPath = (symbol) => symbol.split("/").map(encodeURIComponent).join("/");
