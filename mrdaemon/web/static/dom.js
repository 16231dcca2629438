// Making and changing elements. A text or an attribute is only touched where it changed: that is what keeps 500
// positions cheap, and a screen reader quiet.

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element. */
export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Make an HTML element. */
export function html(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Make a time that is read here, and says UTC when it is pointed at. */
export function time(text, at, utc) {
  return html("time", { datetime: at, title: utc }, text);
}

/** Clone a template of the page; gives its first element. */
export function stamp(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Name the parts of a stamped element: everything that has data-part. */
export function partsOf(element) {
  return Object.fromEntries([...element.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function set(element, name, value) {
  const text = value === null || value === undefined ? null : String(value);
  if (element.getAttribute(name) === text) return;
  if (text === null) element.removeAttribute(name);
  else element.setAttribute(name, text);
}

export function show(element, wanted) {
  if (element.hidden === wanted) element.hidden = !wanted;
}

/** Bring an element's children into an order with as few moves as possible, so that focus and scrolling stay. */
export function arrange(host, wanted) {
  const kept = new Set(wanted);
  for (const child of [...host.children]) if (!kept.has(child)) child.remove();
  let next = host.firstElementChild;
  for (const child of wanted) {
    if (child === next) next = next.nextElementSibling;
    else host.insertBefore(child, next);
  }
}

/** Gather what there is to draw, and draw it once a frame. */
export function onceAFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
