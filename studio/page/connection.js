// The connection to the server: requests, the live socket, and polling where sockets are blocked.

/** An error that the server answered; `field` names the setting that it is about. */
export class Refused extends Error {
  constructor(status, line, field) {
    super(line);
    Object.assign(this, { status, field });
  }
}

/** Sends a request and returns the answer's JSON, null for none. Raises Refused, or TypeError while the server is away. */
export async function request(method, path, body) {
  const options = { method, headers: {} };
  if (body instanceof FormData) options.body = body;
  else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const response = await fetch(path, options);
  const answer = response.headers.get("Content-Type")?.includes("json") ? await response.json() : null;
  if (!response.ok) throw new Refused(response.status, answer?.error ?? `The studio answered ${response.status}.`, answer?.field ?? null);
  return answer;
}

const FIRST_WAIT = 0.5, LONGEST_WAIT = 15, POLL = 1000;
const SOCKETS_TRIED = 2; // failures of the socket while requests work, before polling takes over

/**
 * Keeps the page informed. `listeners` has `jobs(list)`, `job(job)`, `removed(id)`, `frame(header, blob)`, and
 * `link(state, seconds)` with `live`, `polling`, `away` or `refused` (the token is another) and the seconds until the next
 * try.
 */
export class Live {
  #socket = null;
  #wait = FIRST_WAIT;
  #failures = 0;
  #timer = 0;
  #poller = 0;
  #watched = null;
  #seq = -1;
  #isRefused = false;

  constructor(listeners) {
    this.listeners = listeners;
    addEventListener("online", () => this.retry());
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.retry(); });
  }

  connect() {
    clearTimeout(this.#timer);
    const address = new URL("/api/live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => this.#lost(socket);
    this.#socket = socket;
  }

  /** Tries at once where the connection waits for its next try. */
  retry() {
    if (this.#socket?.readyState === WebSocket.CLOSED) this.connect();
  }

  watch(job) {
    this.#watched = job;
    this.#seq = -1;
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "watch", job }));
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) {
      const length = new DataView(data).getUint32(0);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.listeners.frame(header, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "jobs") {
      this.#opened();
      this.listeners.jobs(message.jobs);
    } else if (message.type === "job") this.listeners.job(message.job);
    else if (message.type === "removed") this.listeners.removed(message.id);
  }

  #opened() {
    this.#wait = FIRST_WAIT;
    this.#failures = 0;
    clearInterval(this.#poller);
    this.#poller = 0;
    this.listeners.link("live", 0);
    if (this.#watched) this.watch(this.#watched);
  }

  async #lost(socket) {
    if (socket !== this.#socket) return;
    const isThere = await this.#poll();
    this.#failures = isThere ? this.#failures + 1 : 0;
    if (!isThere || this.#failures < SOCKETS_TRIED) {
      clearInterval(this.#poller);
      this.#poller = 0;
    } else if (!this.#poller) {
      this.#poller = setInterval(() => this.#poll(), POLL);
    }
    this.listeners.link(this.#isRefused ? "refused" : isThere && this.#poller ? "polling" : "away", this.#wait);
    this.#timer = setTimeout(() => this.connect(), this.#wait * 1000);
    this.#wait = Math.min(LONGEST_WAIT, this.#wait * 1.7);
  }

  /** Asks once for the jobs and the newest frame; returns whether the server answered. */
  async #poll() {
    try {
      this.listeners.jobs((await request("GET", "/api/jobs")).jobs);
      this.#isRefused = false;
    } catch (error) {
      this.#isRefused = error instanceof Refused && error.status === 401;
      return false;
    }
    if (this.#watched) await this.#pollWatched(this.#watched).catch(() => null);
    return true;
  }

  async #pollWatched(id) {
    this.listeners.job(await request("GET", `/api/jobs/${id}`));
    const response = await fetch(`/api/jobs/${id}/frame.jpg?after=${this.#seq}`);
    if (response.status !== 200 || this.#watched !== id) return;
    const header = JSON.parse(response.headers.get("X-Frame"));
    this.#seq = header.seq;
    this.listeners.frame(header, await response.blob());
  }
}
