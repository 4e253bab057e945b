// Small steps on the page. Text is always set as text: what alerts say never becomes markup.

export const byId = (id) => document.getElementById(id);

/** An element with its properties (`class`, `data-…`, `aria-…` and the like) and what is in it. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Set the text where it is another: what is selected or focused stays so. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A state: its word, and how good it is. */
export function mark(node, level, word) {
  node.classList.add("state");
  if (node.dataset.level !== level) node.dataset.level = level;
  put(node, word);
}

/**
 * Let the children of `parent` be one for each item, in their order. Who stays keeps its element, and so the focus.
 * `draw(item)` makes an element with a function `show(item, element)`, which is called each time.
 */
export function keep(parent, items, key, draw) {
  const wanted = new Set(items.map(key));
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  for (const [name, child] of old) if (!wanted.has(name)) child.remove();
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = old.get(name);
    if (!child) {
      child = draw(item);
      child.dataset.key = name;
    }
    if (child === place) place = place.nextElementSibling;
    else move(parent, child, place);
    child.show(item, child);
  }
}

function move(parent, child, place) {
  const focused = child.contains(document.activeElement) ? document.activeElement : null;
  parent.insertBefore(child, place);
  if (focused) focused.focus({ preventScroll: true });
}

/** Bring a text to the clipboard; false where the browser does not let us. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

// Over plain HTTP, and not on this machine, there is no other way.
function copyBySelection(text) {
  const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
  const focused = document.activeElement;
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
