/* The page of the chat: what is shown, and what is typed. room.js does the talking. */

import {Room} from "./room.js";

const ROOMS = ["lobby", "help", "off-topic"];
const STATES = {
  connecting: "connecting", open: "connected", reconnecting: "reconnecting", closed: "closed",
};
const PROBLEMS = {
  rate: "too many messages at once", size: "the message is too long", lost: "nobody knows whether it arrived",
};

const find = (id) => document.getElementById(id);
const time = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit"});
const messages = find("messages");

// Each tab may be somebody else; a new one proposes who you were last.
let me = sessionStorage.getItem("chat-name") ?? "";
let room = null;        // What is open
let sent = new Map();   // What we have said and not yet heard, by its key

function make(name, text = "", properties = {}) {
  return Object.assign(document.createElement(name), {textContent: text, ...properties});
}

function nameOfRoom() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || ROOMS[0];
  } catch {
    return ROOMS[0];
  }
}

function enter() {
  find("enter").hidden = me !== "";
  find("chat").hidden = me === "";
  if (me === "") {
    room?.close();
    find("name").value = localStorage.getItem("chat-name") ?? "";
    find("name").focus();
    return;
  }
  find("me").textContent = me;
  open(nameOfRoom());
}

function open(name) {
  room?.close();
  sent = new Map();
  messages.replaceChildren();
  find("people").replaceChildren();
  find("problem").textContent = "";
  find("title").textContent = `# ${name}`;
  document.title = `${name} – Chat`;
  const names = ROOMS.includes(name) ? ROOMS : [...ROOMS, name];
  find("rooms").replaceChildren(...names.map((one) => {
    const link = make("a", `# ${one}`, {href: `#${encodeURIComponent(one)}`});
    if (one === name) link.ariaCurrent = "page";
    const item = make("li");
    item.append(link);
    return item;
  }));
  const path = `/rooms/${encodeURIComponent(name)}`;
  const opened = room = new Room(`${path}?name=${encodeURIComponent(me)}`, {history: `${path}?limit=100`});
  const on = (event, act) => {
    opened.addEventListener(event, ({detail}) => { if (opened === room) act(detail); });
  };
  on("message", hear);
  on("gap", () => messages.replaceChildren(...sent.values()));
  on("state", tellState);
  on("members", tellPeople);
  on("presence", () => tellPeople([]));
  on("joined", askSoon);
  on("left", askSoon);
  tellState({state: "connecting"});
  find("text").focus();
}

function tellState({state, reason = ""}) {
  const place = find("state");
  place.textContent = STATES[state];
  place.dataset.state = state;
  find("problem").textContent = reason;
  if (state === "open") room.askMembers();
}

/* Hints come in swarms: one question for all of them. */
let asking = 0;
function askSoon() {
  clearTimeout(asking);
  asking = setTimeout(() => room?.askMembers(), 200);
}

function tellPeople(members) {
  // Somebody with two tabs is one person.
  const names = [...new Set(members.map((member) => member.user))].sort((a, b) => a.localeCompare(b));
  find("count").textContent = names.length || "";
  find("people").replaceChildren(...names.map((name) => make("li", name)));
}

function show(by, text, at, className) {
  const item = make("li", "", {className: by === me ? `mine ${className}` : className});
  const previous = messages.lastElementChild;
  item.dataset.by = by;
  if (previous?.dataset.by !== by) item.append(make("span", `${by}, ${time.format(at)}`, {className: "by"}));
  item.append(make("span", text, {className: "text"}));
  // Who has scrolled up reads something older.
  const atEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 80;
  messages.append(item);
  if (atEnd || by === me) messages.scrollTop = messages.scrollHeight;
  return item;
}

function hear({data, base64, by = "somebody", at}) {
  sent.get(data?.key)?.remove();
  sent.delete(data?.key);
  show(by, base64 === undefined ? String(data?.text ?? data) : "(a binary message)", at, "message");
  // What is not stored yet stays last.
  messages.append(...sent.values());
}

async function say(text) {
  const saying = room, key = crypto.getRandomValues(new Uint32Array(2)).join("-");
  const item = show(me, text, Date.now(), "pending");
  sent.set(key, item);
  try {
    await saying.publish({text, key});
  } catch (error) {
    sent.delete(key);
    item.className = "mine failed";
    if (saying === room) find("problem").textContent = `Not sent: ${PROBLEMS[error.reason] ?? error.reason}.`;
  }
}

find("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  me = find("name").value.trim();
  sessionStorage.setItem("chat-name", me);
  localStorage.setItem("chat-name", me);
  enter();
});

find("leave").addEventListener("click", () => {
  me = "";
  sessionStorage.removeItem("chat-name");
  enter();
});

find("open").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent(find("room").value.trim());
  find("room").value = "";
});

find("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = find("text").value.trim();
  find("text").value = "";
  find("problem").textContent = "";
  if (text !== "") say(text);
});

addEventListener("hashchange", () => { if (me !== "") open(nameOfRoom()); });

enter();
