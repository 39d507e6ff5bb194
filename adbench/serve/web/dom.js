// Short ways to elements.

export const $ = (id) => document.getElementById(id);

// make("p", { class: "note" }, "text", other) is <p class="note">text<other></p>; text is never read as HTML.
export function make(tag, attributes = {}, ...children) {
  const element = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const press = (button, on) => button.setAttribute("aria-pressed", String(on));
export const pressed = (button) => button.getAttribute("aria-pressed") === "true";

// Four digits, and more where they would round to 1, as probabilities do.
export function shown(number, digits = 4) {
  if (number === null || number === undefined) return "–";
  const short = Number(number.toPrecision(digits));
  return short === 1 && number !== 1 ? Number(number.toPrecision(8)).toString() : short.toString();
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

export function say(text) {
  $("status").textContent = text;
  $("problem").hidden = true;
}

let resting = "";

// Says what is to be read whenever nothing else is said, as the name of the image; without text, the same again.
export function rest(text = resting) {
  resting = text;
  say(text);
}

export function complain(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}

let running = 0;

function busy(change) {
  running += change;
  document.querySelector("main").setAttribute("aria-busy", String(running > 0));
}

// Runs an asynchronous handler, and says that the page is busy; its error is shown as the sentence that it is.
export const safely = (handler) => async (...words) => {
  busy(1);
  try {
    return await handler(...words);
  } catch (error) {
    complain(error);
    return undefined;
  } finally {
    busy(-1);
  }
};
