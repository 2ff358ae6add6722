// A plain worker of one gateway, and WebSocket clients of it.
import { headers as newHeaders } from '@nats-io/transport-node';
import { parseClient, parseEvent } from './protocol.js';
import { connect } from './websocket.js';

export class Cluster {
  #nats;
  #url;
  #number = 0;
  #open = new Map(); // by path: what handles the open event
  #handlers = new Map(); // by client: what handles the others
  #clients = []; // sockets

  static async start(nats, url) {
    const c = new Cluster(nats, url);
    const events = nats.subscribe('gw.*.in.default.*', { queue: 'default' });
    await nats.flush();
    c.#work(events);
    c.gateway = parseClient((await c.connect()).id).gateway; // who works for a gateway hears its name in every event
    return c;
  }

  constructor(nats, url) {
    this.#nats = nats;
    this.#url = url;
  }

  async #work(events) {
    for await (const message of events) {
      const header = (name) => message.headers?.get(name) ?? '';
      const event = parseEvent(message.subject, message.reply, header, message.data);
      const handle = event.kind === 'open'
        ? this.#open.get(JSON.parse(message.string()).path)
        : this.#handlers.get(event.client);
      if (handle) handle(message, event);
      else message.respond();
    }
  }

  // connect connects a client whose open event is handled so; without a handler
  // it is let in with what the reply says. The result is as of connect of
  // websocket.js, with the client's id.
  async connect(reply = '', { offers = [], handle } = {}) {
    const path = `/${++this.#number}`;
    let id;
    this.#open.set(path, (message, event) => {
      id = event.client;
      if (handle) handle(message, event);
      else message.respond(reply);
    });
    const result = await connect(this.#url + path, offers);
    this.#open.delete(path);
    if (result.socket) this.#clients.push(result.socket);
    return { ...result, id };
  }

  // letIn connects clients with what each is given, and returns them by name.
  async letIn(given = {}) {
    const clients = {};
    for (const [name, open] of Object.entries(given)) {
      const client = await this.connect(JSON.stringify(open));
      if (!client.socket) throw new Error(`${name} is refused: ${client.status} ${client.body}`);
      clients[name] = client;
    }
    return clients;
  }

  // handle has the frames and the end of a client handled so.
  handle(client, fn) { this.#handlers.set(client.id, fn); }

  respond(message, data, headers) { message.respond(data, { headers: named(headers) }); }

  // request publishes a request and returns the answer, which is JSON.
  async request(subject, data, headers) {
    const answer = await this.#nats.request(subject, data, { timeout: 5000, headers: named(headers) });
    return { ...answer.json(), text: answer.string() };
  }

  command(operation, request) { return this.request(`gw.${this.gateway}.do.${operation}`, request); }

  // received are the frames that a client has got for what was done before.
  async received(client) {
    const marker = `marker ${++this.#number}`;
    await this.request(`gw.${this.gateway}.push.client.${client.id}`, marker);
    const frames = [];
    for (;;) {
      const next = await client.socket.next();
      if (next.code) return { frames, close: { code: next.code, reason: next.reason } };
      if (next.data.equals(Buffer.from(marker))) return { frames };
      frames.push(frame(next));
    }
  }

  // leave has all clients leave.
  async leave() {
    for (const socket of this.#clients) {
      socket.close(1000);
      while (!(await socket.next()).code);
      socket.cut();
    }
    this.#clients = [];
    this.#handlers.clear();
    while ((await this.command('count', '{"of":"clients"}')).count) await this.#nats.flush();
  }
}

function frame({ kind, data }) {
  return { kind, data: data.toString(), data_base64: data.toString('base64') };
}

function named(headers) {
  if (!headers) return undefined;
  const h = newHeaders();
  for (const [name, value] of Object.entries(headers)) h.set(name, value);
  return h;
}
