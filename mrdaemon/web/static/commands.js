// Asking for something that changes what the daemon does: always in two steps, and with what came of it. Where this page
// may look but not act, the token is asked for in the second step, and the page stays.

import { ApiError, command, forgetRight, mayAct, signIn } from "./api.js";
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
  #signedIn;
  #dialog = document.getElementById("ask");
  #form = document.getElementById("ask-form");
  #title = document.getElementById("ask-title");
  #what = document.getElementById("ask-what");
  #note = document.getElementById("ask-note");
  #why = document.getElementById("ask-why");
  #token = document.getElementById("ask-token");
  #refusal = document.getElementById("ask-refusal");
  #yes = document.getElementById("ask-yes");
  #asked = null;

  /** `signedIn()` is called whenever the token was entered here. */
  constructor(toasts, signedIn) {
    [this.#toasts, this.#signedIn] = [toasts, signedIn];
    document.getElementById("ask-no").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close(); // Beside it.
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** Ask a person whether this is meant; then do it. `note` says what it is about. */
  ask(name, fields, note = "") {
    const words = WORDS[name];
    const scope = fields.symbol ? ` in ${fields.portfolio ? `${fields.portfolio}/` : ""}${fields.symbol}` : "";
    this.#asked = { name, fields };
    setText(this.#title, words.title(scope).replace("all trading in", "trading in"));
    setText(this.#what, words.what);
    setText(this.#note, note);
    show(this.#note, note !== "");
    setText(this.#yes, words.yes);
    this.#yes.className = words.kind;
    this.#yes.disabled = false;
    this.#why.value = "";
    show(this.#refusal, false);
    this.#wantToken(!mayAct());
    this.#dialog.showModal();
    (mayAct() ? this.#yes : this.#token).focus();
  }

  #wantToken(wanted) {
    this.#token.value = "";
    this.#token.required = wanted;
    for (const each of [this.#token, document.getElementById("ask-token-label")]) show(each, wanted);
  }

  async #enter() {
    await signIn(this.#token.value.trim());
    this.#wantToken(false);
    this.#signedIn();
  }

  async #send() {
    const { name, fields } = this.#asked;
    this.#yes.disabled = true;
    show(this.#refusal, false);
    try {
      if (!mayAct()) await this.#enter();
      const why = this.#why.value.trim();
      const answer = await command(name, why ? { ...fields, why } : fields);
      this.#dialog.close();
      const said = (answer.events ?? []).map((each) => each.sentence).filter(Boolean);
      this.#toasts.say([said[0] ?? WORDS[name].done, ...(answer.notes ?? [])].join(" "));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const isOver = mayAct() && (error.status === 401 || error.status === 403);
      setText(this.#refusal, isOver ? "Nothing was done: to act, this page needs the token again." : error.message);
      show(this.#refusal, true);
      this.#yes.disabled = false;
      if (!isOver) return;
      forgetRight();
      this.#wantToken(true);
      this.#token.focus();
    }
  }
}
