// Short words at the foot of the page that go by themselves, and are read aloud.

import { html } from "./dom.js";

const STAYS = 9000; // Milliseconds.
const MOST = 3;

export class Toasts {
  #host = document.getElementById("toasts");

  say(text) {
    const toast = html("p", { class: "toast" }, text);
    this.#host.append(toast);
    while (this.#host.children.length > MOST) this.#host.firstElementChild.remove();
    setTimeout(() => toast.remove(), STAYS);
  }
}
