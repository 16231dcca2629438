// Everything that the page knows: filled by the stream, read by what draws. It draws nothing itself.

export const keyOf = (position) => `${position.portfolio}/${position.symbol}`;

/** Tell how near a position is to an edge: 0 at its target, 1 at the edge; null where its value is not known. */
export function nearness(position) {
  if (position.value === null || position.lower === null || position.upper === null) return null;
  const [value, target] = [Number(position.value), Number(position.target)];
  const width = value <= target ? target - Number(position.lower) : Number(position.upper) - target;
  return Math.abs(value - target) / width;
}

/** Tell whether a position is stopped until a person has looked. */
export const isStopped = (position) => position.halted !== null || position.frozen !== null;

export class Store {
  /** The overview, without positions; null until it was heard. */
  status = null;
  /** What the daemon is called. */
  instance = "";
  /** By key, in the order in which they came. */
  positions = new Map();
  /** When each was heard, by this machine's own clock, in milliseconds since the page was opened. */
  heardAt = new Map();
  /** Whether the stream is heard: null before it was for the first time. */
  connected = null;
  /** When it was lost, and why. */
  lost = null;
  /** Whether it was lost since the session is over. */
  isSignedOut = false;

  #listeners = { status: [], positions: [], connection: [], news: [] };
  #clock = null;

  on(what, listener) {
    this.#listeners[what].push(listener);
  }

  #tell(what, ...news) {
    for (const each of this.#listeners[what]) each(...news);
  }

  /** The daemon's time in milliseconds: that of a recording, where it reads one. */
  now() {
    if (this.#clock === null) return Date.now();
    const passed = this.isRecording ? 0 : performance.now() - this.#clock.heard;
    return this.#clock.at + passed;
  }

  get isRecording() {
    return this.status?.feed?.is_recording ?? false;
  }

  hear(name, data) {
    switch (name) {
      case "hello":
        this.instance = data.instance;
        this.#setClock(data.at);
        break;
      case "status":
        this.#setClock(data.at);
        this.status = data;
        this.#tell("status");
        break;
      case "positions":
        this.#hearPositions(data);
        break;
      case "news":
        this.#tell("news", data);
        break;
    }
  }

  #setClock(at) {
    this.#clock = { at: Date.parse(at), heard: performance.now() };
  }

  #hearPositions({ changed, gone }) {
    const heard = performance.now();
    for (const each of changed) {
      const key = keyOf(each);
      this.positions.set(key, each);
      this.heardAt.set(key, heard);
    }
    for (const key of gone) {
      this.positions.delete(key);
      this.heardAt.delete(key);
    }
    this.#tell("positions", changed, gone);
  }

  /** Seconds since a position's newest print; null where none was seen, or where time is a recording's. */
  age(position) {
    if (position.age === null || this.isRecording) return null;
    return position.age + (performance.now() - this.heardAt.get(keyOf(position))) / 1000;
  }

  opened() {
    this.connected = true;
    this.lost = null;
    this.isSignedOut = false;
    this.#tell("connection");
  }

  wasLost(reason, isSignedOut = false) {
    this.lost = { since: this.lost?.since ?? new Date(), reason };
    this.isSignedOut = isSignedOut;
    this.connected = false;
    this.#tell("connection");
  }
}
