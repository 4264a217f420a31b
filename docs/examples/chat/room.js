/*
 * A room of mpchat, for web pages. Copy this file: it needs no other. Protocol: docs/rooms.md.
 *
 *     import {Room} from "./room.js";
 *
 *     const room = new Room("/rooms/lobby", {history: "/rooms/lobby?limit=50"});
 *     room.addEventListener("message", ({detail}) => show(detail.by, detail.data));
 *     room.addEventListener("state", ({detail}) => tell(detail.state));
 *     await room.publish({text: "hello"});    // returns once the message is stored
 *
 * Events, each with a `detail`:
 *     message   {offset, data, at, by}: each one once, in the order of the room, your own included;
 *               a binary message has `base64` in place of `data`, and `by` is absent for nobody
 *     state     {state, code, reason}: "connecting", "open", "reconnecting" or "closed"; a room that is
 *               closed stays so, and `code` says why: 4401 who are you, 4403 not you, 4404 no such room
 *     gap       {}: messages are missing. With `history` forget what you have shown: it comes again
 *     joined, left   what others are told of a member; hints, now and then one is wrong
 *     members   [...]: the answer to `askMembers()`
 *     presence  false: the room is too large for the last three
 * When the connection breaks, or nothing is heard for too long, the room connects again by itself, after
 * a random time that grows with each failure, gets what it has missed, and repeats what was not answered.
 */
const CONNECT_SECONDS = 10, STABLE_SECONDS = 10, MAX_WAIT_SECONDS = 30;
const GRACE_SECONDS = 10;       // Beyond a heartbeat that does not come
const REPEAT_SECONDS = 100;     // The server knows an id again for two minutes

/** Why a message was not published: `reason` is that of the protocol, or "lost": nobody knows. */
export class PublishError extends Error {
  constructor(reason) { super(`not published: ${reason}`); this.reason = reason; }
}

export class Room extends EventTarget {
  state = "connecting";
  #url; #history; #client; #timer;
  #position;                    // {epoch, offset, at} of the last message
  #isFresh = false;             // The position is that of a history just loaded
  #socket = null;
  #turn = 0;                    // Counts connections: what an earlier one still does is ignored
  #opened = 0;                  // When this one was
  #attempt = 0;                 // Failures since the last good one
  #heartbeat = 0; #ids = 0;
  #pending = new Map();         // Publishes without an answer, by id, in order

  /**
   * `url` is the room's, relative or not, or a function that returns one or a promise of one: it is
   * asked before each connection, for example for a new ticket. Options:
   *     history   URL of the room at handler-rooms: its messages come first, and after a gap
   *     position  where to go on, as `room.position` was in an earlier page; no history is loaded then
   */
  constructor(url, {history = null, position = null} = {}) {
    super();
    [this.#url, this.#history, this.#position] = [url, history, position];
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    this.#client = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    addEventListener("online", this.#onOnline);
    addEventListener("offline", this.#onOffline);
    queueMicrotask(() => this.#connect());
  }

  /** Where this page stands in the room: {epoch, offset, at}, or null before it is known. */
  get position() { return this.#position && {...this.#position}; }

  /** Publish any JSON value; resolves to its offset once it is stored, rejects with a PublishError. */
  publish(data) {
    const id = String(++this.#ids), frame = JSON.stringify({publish: id, data});
    return new Promise((resolve, reject) => {
      this.#pending.set(id, {frame, resolve, reject, sent: 0});
      if (this.state === "closed") this.#refused(id, "closed");
      else this.#send(id);
    });
  }

  /** Ask who is in the room: a `members` event answers. */
  askMembers() { if (this.state === "open") this.#socket.send('{"members":true}'); }

  /** Leave the room for good. */
  close() { this.#end(1000, ""); }

  #onOnline = () => { if (this.state !== "closed" && this.#socket === null) this.#connect(); };
  #onOffline = () => { if (this.state === "open") this.#again(); };

  async #connect() {
    const turn = ++this.#turn;
    this.#watch(CONNECT_SECONDS);
    try {
      if (this.#history && this.#position === null) await this.#load(turn);
      const given = typeof this.#url === "function" ? await this.#url() : this.#url;
      const url = new URL(given, location.href);
      if (turn !== this.#turn) return;
      url.protocol = url.protocol.replace("http", "ws");
      url.searchParams.set("client", this.#client);
      if (this.#position) url.searchParams.set("since", Object.values(this.#position).join(":"));
      const socket = this.#socket = new WebSocket(url, "mpchat.room.v1");
      socket.onmessage = ({data}) => this.#read(JSON.parse(data));
      socket.onclose = ({code, reason}) => this.#closed(code, reason);
    } catch {
      if (turn === this.#turn) this.#again();
    }
  }

  async #load(turn) {
    const answer = await fetch(this.#history, {cache: "no-store"});
    if (!answer.ok) throw new Error(`${answer.status}`);
    const {epoch, offset, at, messages} = await answer.json();
    if (turn !== this.#turn) return;
    this.#position = {epoch, offset, at};
    this.#isFresh = true;
    for (const message of messages) this.#emit("message", message);
  }

  #read(frame) {
    this.#watch(this.#heartbeat && this.#heartbeat + GRACE_SECONDS);
    if ("epoch" in frame) this.#welcomed(frame);
    else if ("ack" in frame) this.#settle(frame.ack, ({resolve}) => resolve(frame.offset));
    else if ("nack" in frame) this.#refused(frame.nack, frame.reason);
    else if ("offset" in frame && frame.offset > this.#position.offset) {
      Object.assign(this.#position, {offset: frame.offset, at: frame.at});
      this.#emit("message", frame);
    }
    const others = ["joined", "left", "members", "presence"];
    for (const name of others) if (name in frame) this.#emit(name, frame[name]);
  }

  #welcomed({epoch, offset, at, recovered, heartbeat}) {
    if (!recovered) this.#emit("gap", {});
    if (this.state === "closed") return;                            // By who was told
    const again = !recovered && this.#history && !this.#isFresh;
    this.#position = again ? null : {epoch, offset, at};
    this.#isFresh = false;
    if (again) return this.#again();
    [this.#heartbeat, this.#opened, this.state] = [heartbeat, Date.now(), "open"];
    this.#watch(heartbeat && heartbeat + GRACE_SECONDS);
    for (const id of [...this.#pending.keys()]) this.#send(id);     // Before who is told publishes more
    this.#emit("state", {state: "open", code: 0, reason: ""});
  }

  #send(id) {
    const publish = this.#pending.get(id);
    if (publish === undefined || this.state !== "open") return;
    publish.sent ||= Date.now();
    if (Date.now() - publish.sent > REPEAT_SECONDS * 1000) this.#refused(id, "lost");
    else this.#socket.send(publish.frame);
  }

  #refused(id, reason) {
    if (reason === "unavailable") setTimeout(() => this.#send(id), 1000 * (1 + Math.random()));
    else this.#settle(id, ({reject}) => reject(new PublishError(reason)));
  }

  #settle(id, how) {
    const publish = this.#pending.get(id);
    if (this.#pending.delete(id)) how(publish);
  }

  /** Give up a connection on which nothing comes for so long; 0: never. */
  #watch(seconds) {
    clearTimeout(this.#timer);
    if (seconds) this.#timer = setTimeout(() => this.#again(), seconds * 1000);
  }

  #closed(code, reason) {
    const canRenew = code === 4401 && typeof this.#url === "function";
    if ([4401, 4403, 4404].includes(code) && !canRenew) this.#end(code, reason);
    else this.#again();
  }

  /** Forget this connection, and make another one in a while. */
  #again() {
    this.#drop();
    if (this.#opened && Date.now() - this.#opened > STABLE_SECONDS * 1000) this.#attempt = 0;
    this.#opened = 0;
    const most = Math.min(MAX_WAIT_SECONDS, 2 ** this.#attempt++);
    this.#timer = setTimeout(() => this.#connect(), Math.random() * most * 1000);
    this.#become("reconnecting");
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#turn++;
    if (this.#socket !== null) {
      this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
      this.#socket = null;
    }
  }

  #end(code, reason) {
    this.#drop();
    removeEventListener("online", this.#onOnline);
    removeEventListener("offline", this.#onOffline);
    this.#become("closed", code, reason);
    for (const id of [...this.#pending.keys()]) this.#refused(id, "closed");
  }

  #become(state, code = 0, reason = "") {
    if (state !== this.state) this.#emit("state", {state: this.state = state, code, reason});
  }

  #emit(name, detail) { this.dispatchEvent(new CustomEvent(name, {detail})); }
}
