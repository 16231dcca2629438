// The stream of what changes: server-sent events, read with fetch. EventSource hides what this page has to know:
// heartbeats, by which quiet is told from dead, and the status of an answer, by which a session that ended is told from
// a daemon that is away.

const SILENCE = 25000; // Milliseconds without a byte after which the stream is dead; the daemon says something every 10 s.
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5000;
const SIGNED_OUT_WAIT = 15000; // Somebody may sign in beside this page.

/** Cut a stream of bytes into events: feed it with text, and it hands out {event, data, id}. */
export class EventReader {
  #buffer = "";
  #event = "";
  #data = [];
  #id;

  *read(text) {
    this.#buffer += text;
    const lines = this.#buffer.split("\n");
    this.#buffer = lines.pop();
    for (const each of lines) {
      const line = each.endsWith("\r") ? each.slice(0, -1) : each;
      if (line === "") {
        if (this.#data.length) yield { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id };
        this.#event = "";
        this.#data = [];
      } else if (!line.startsWith(":")) {
        this.#field(line);
      }
    }
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#event = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
  }
}

/** Keeps a stream open for as long as the page is. */
export class Stream {
  #path;
  #on;
  #last = null;
  #wait = FIRST_WAIT;
  #retry = null;
  #abort = null;

  /**
   * `on.event(name, data)` for each event, `on.open()` once it is heard, `on.lost(reason, isSignedOut)` each time it is
   * not; `isSignedOut` where the session has ended.
   */
  constructor(path, on) {
    this.#path = path;
    this.#on = on;
  }

  start() {
    // A laptop that wakes, or a phone that is back in reach, does not wait for its turn.
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => document.hidden || this.again());
    this.#open();
  }

  /** Try it now, where it is not heard. */
  again() {
    if (this.#retry === null) return;
    clearTimeout(this.#retry);
    this.#wait = FIRST_WAIT;
    this.#open();
  }

  async #open() {
    this.#retry = null;
    const reason = await this.#listen().catch((error) => error.message);
    this.#on.lost(reason ?? "the session is over", reason === null);
    // Many pages lose a daemon at once; they shall not all be back at once.
    const wait = reason === null ? SIGNED_OUT_WAIT : this.#wait;
    this.#retry = setTimeout(() => this.#open(), wait * (0.5 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  /** Listen until it ends; gives why, or null where the session has. */
  async #listen() {
    this.#abort = new AbortController();
    let silence = null;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => this.#abort.abort(), SILENCE);
    };
    heard();
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.#last !== null) headers["Last-Event-ID"] = this.#last;
      const answer = await fetch(this.#path, { headers, cache: "no-store", signal: this.#abort.signal });
      if (answer.status === 401 || answer.status === 403) return null;
      if (!answer.ok) return answer.status === 503 ? "the daemon has no room for a further page" : `it answered ${answer.status}`;
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      const events = new EventReader();
      let opened = false;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return "the daemon ended the stream";
        heard();
        if (!opened) {
          opened = true;
          this.#wait = FIRST_WAIT;
          this.#on.open();
        }
        for (const each of events.read(value)) {
          if (each.id !== undefined) this.#last = each.id;
          this.#on.event(each.event, JSON.parse(each.data));
        }
      }
    } catch (error) {
      return this.#abort.signal.aborted ? "nothing was heard for too long" : `it cannot be reached (${error.message})`;
    } finally {
      clearTimeout(silence);
      this.#abort.abort();
    }
  }
}
