// Asking for something that changes what the daemon does: always in two steps, and with what came of it.

import { ApiError, command, mayAct, signIn } from "./api.js";
import { setText, show } from "./dom.js";

const WORDS = {
  pause: {
    title: (scope) => `Pause the signals${scope}?`,
    what: "No new signals are raised. Orders that are open live on.",
    yes: "Pause",
    kind: "go",
    done: "Paused.",
  },
  resume: {
    title: (scope) => `Trade again${scope}?`,
    what: "Halts, pauses and freezes of this scope are lifted. Nothing old is sent: the next price decides.",
    yes: "Resume",
    kind: "go",
    done: "Resumed.",
  },
  halt: {
    title: (scope) => `Halt all trading${scope}?`,
    what: "No order leaves and open ones are cancelled; what they fill still counts. It stays so, also after a restart, until somebody resumes.",
    yes: "Halt",
    kind: "danger",
    done: "Halted.",
  },
  approve: {
    title: () => "Approve this trade?",
    what: "Price and guards are looked at once more. It trades no more than is written here; where more would be due, it asks again.",
    yes: "Approve",
    kind: "go",
    done: "Approved.",
  },
  reject: {
    title: () => "Reject this trade?",
    what: "Nothing is traded. It asks again when the price has moved far enough.",
    yes: "Reject",
    kind: "quiet",
    done: "Rejected.",
  },
};

export class Commands {
  #toasts;
  #dialog = document.getElementById("ask");
  #form = document.getElementById("ask-form");
  #title = document.getElementById("ask-title");
  #what = document.getElementById("ask-what");
  #note = document.getElementById("ask-note");
  #why = document.getElementById("ask-why");
  #refusal = document.getElementById("ask-refusal");
  #yes = document.getElementById("ask-yes");
  #asked = null;

  constructor(toasts) {
    this.#toasts = toasts;
    document.getElementById("ask-no").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // Beside it.
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (mayAct()) this.#send();
      else signIn();
    });
  }

  /** Ask a person whether this is meant; then do it. `note` says what it is about. */
  ask(name, fields, note = "") {
    const words = WORDS[name];
    const scope = fields.symbol ? ` in ${fields.portfolio ? `${fields.portfolio}/` : ""}${fields.symbol}` : "";
    this.#asked = { name, fields };
    setText(this.#title, words.title(scope).replace("all trading in", "trading in"));
    setText(this.#what, mayAct() ? words.what : "This page may look, but not act: sign in with the token first.");
    setText(this.#note, note);
    show(this.#note, note !== "");
    setText(this.#yes, mayAct() ? words.yes : "Sign in");
    this.#yes.className = words.kind;
    this.#yes.disabled = false;
    this.#why.value = "";
    show(this.#why, mayAct());
    show(document.getElementById("ask-why-label"), mayAct());
    show(this.#refusal, false);
    this.#dialog.showModal();
    this.#yes.focus();
  }

  async #send() {
    const { name, fields } = this.#asked;
    this.#yes.disabled = true;
    show(this.#refusal, false);
    try {
      const why = this.#why.value.trim();
      const answer = await command(name, why ? { ...fields, why } : fields);
      this.#dialog.close();
      const said = (answer.events ?? []).map((each) => each.sentence).filter(Boolean);
      this.#toasts.say([said[0] ?? WORDS[name].done, ...(answer.notes ?? [])].join(" "));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401) signIn(true);
      setText(this.#refusal, error.message);
      show(this.#refusal, true);
      this.#yes.disabled = false;
    }
  }
}
