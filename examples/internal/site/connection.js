// A WebSocket to one of several gateways that comes back when it is lost.
//
// Whether and when to come back is what the close code says: docs/close-codes.md.

// Codes after which it makes no sense to connect again.
const final = new Set([1000, 1001, 1002, 1007, 1008, 1009, 4002, 4003]);
// The gateway stops or restarts: to another one, at once.
const restart = 1012;

const firstPause = 500, longestPause = 15_000; // milliseconds
const patience = 10_000; // for a connection to stand
const proven = 5_000; // how long it stands before it counts as a good one

export class Connection {
  #gateways; #address; #on;
  #socket = null; #timer = 0; #turn; #pause = firstPause; #since = 0;

  // gateways are URLs such as ws://127.0.0.1:8282. address makes the whole URL of
  // one. on.open(gateway), on.message(object), on.lost(why, seconds) and
  // on.end(why) tell what happens.
  constructor(gateways, address, on) {
    this.#gateways = gateways;
    this.#address = address;
    this.#on = on;
    this.#turn = Math.floor(Math.random() * gateways.length); // so that each has its share
    addEventListener('online', () => { if (!this.#socket) this.#connect(); });
    this.#connect();
  }

  get gateway() { return this.#gateways[this.#turn % this.#gateways.length]; }
  get open() { return this.#socket?.readyState === WebSocket.OPEN; }

  // send tells whether the frame could be sent. What has piled up because the
  // network is slow would be old news: more than a little of it is not added to.
  send(message) {
    if (!this.open || this.#socket.bufferedAmount > 16_384) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  // leave says goodbye for good.
  leave() {
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
  }

  #connect() {
    clearTimeout(this.#timer);
    const socket = this.#socket = new WebSocket(this.#address(this.gateway));
    this.#timer = setTimeout(() => socket.close(), patience);
    socket.onopen = () => {
      clearTimeout(this.#timer);
      this.#since = performance.now();
      this.#on.open(this.gateway);
    };
    socket.onmessage = event => {
      let message;
      try { message = JSON.parse(event.data); } catch { return; } // not for us
      if (message && typeof message === 'object') this.#on.message(message);
    };
    socket.onclose = event => this.#closed(event);
  }

  #closed({ code, reason }) {
    clearTimeout(this.#timer);
    this.#socket = null;
    if (final.has(code) || code >= 4100) { // the application's own codes end this one
      this.#on.end(reason || `closed with code ${code}`);
      return;
    }
    const good = this.#since && performance.now() - this.#since > proven;
    this.#since = 0;
    if (good) this.#pause = firstPause;
    const wait = code === restart && good
      ? Math.random() * 250
      : this.#pause * (0.5 + Math.random()); // not all at the same time
    if (!(code === restart && good)) this.#pause = Math.min(this.#pause * 2, longestPause);
    this.#turn++; // perhaps another gateway is better off
    this.#on.lost(reason || 'the connection is lost', wait / 1000);
    this.#timer = setTimeout(() => this.#connect(), wait);
  }
}
