// The least that a WebSocket client needs (RFC 6455), which shows what a browser
// hides: the HTTP status of a refusal, and the bytes of each frame.
import http from 'node:http';
import { randomBytes } from 'node:crypto';

const kinds = { 1: 'text', 2: 'binary' };
const opcodes = { text: 1, binary: 2, close: 8, pong: 10 };

// connect asks for a WebSocket. The result is { socket, protocol } or, of a
// refusal, { status, body }.
export function connect(url, protocols = []) {
  const headers = {
    Connection: 'Upgrade', Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
  };
  if (protocols.length) headers['Sec-WebSocket-Protocol'] = protocols.join(', ');
  return new Promise((resolve, reject) => {
    const request = http.get(url, { headers, agent: false });
    request.on('error', reject);
    request.on('upgrade', (response, socket, head) => {
      resolve({ socket: new Socket(socket, head), protocol: response.headers['sec-websocket-protocol'] ?? '' });
    });
    request.on('response', async (response) => {
      let body = '';
      for await (const part of response.setEncoding('utf8')) body += part;
      resolve({ status: response.statusCode, body: body.trimEnd() });
    });
  });
}

class Socket {
  #tcp;
  #buffer = Buffer.alloc(0);
  #got = []; // frames, and at the end { code, reason }
  #wake = () => {};

  constructor(tcp, head) {
    this.#tcp = tcp;
    tcp.on('data', (data) => this.#receive(data));
    tcp.on('error', () => {});
    tcp.on('close', () => this.#end(1006, ''));
    if (head.length) this.#receive(head);
  }

  // next is the next frame, { kind, data }, or the end, { code, reason }: for ever.
  async next() {
    while (this.#got.length === 0) await new Promise((resolve) => { this.#wake = resolve; });
    return this.#got[0].code ? this.#got[0] : this.#got.shift();
  }

  send(kind, data) { this.#write(opcodes[kind], Buffer.from(data)); }

  close(code, reason = '') {
    const payload = code ? Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]) : Buffer.alloc(0);
    this.#write(opcodes.close, payload);
  }

  cut() { this.#tcp.destroy(); }

  #write(opcode, payload) {
    if (this.#tcp.destroyed) return;
    const long = payload.length > 125;
    if (payload.length > 0xffff) throw new Error('a frame of this client has at most 64 KB');
    const head = Buffer.from(long ? [0x80 | opcode, 0xfe, payload.length >> 8, payload.length & 0xff] : [0x80 | opcode, 0x80 | payload.length]);
    const mask = randomBytes(4);
    this.#tcp.write(Buffer.concat([head, mask, payload.map((b, i) => b ^ mask[i & 3])]));
  }

  #receive(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (let b = this.#buffer; b.length >= 2; b = this.#buffer) {
      let size = b[1], at = 2;
      if (size === 126) [size, at] = [b.length >= 4 ? b.readUInt16BE(2) : Infinity, 4];
      else if (size === 127) [size, at] = [b.length >= 10 ? Number(b.readBigUInt64BE(2)) : Infinity, 10];
      if (b.length < at + size) return;
      const payload = Buffer.from(b.subarray(at, at + size));
      this.#buffer = b.subarray(at + size);
      this.#frame(b[0], payload);
    }
  }

  #frame(first, payload) {
    const opcode = first & 0x0f;
    if (!(first & 0x80)) return this.#fail('the frame is in parts');
    if (kinds[opcode]) return this.#add({ kind: kinds[opcode], data: payload });
    if (opcode === 9) return this.#write(opcodes.pong, payload);
    if (opcode === 10) return undefined;
    if (opcode !== opcodes.close) return this.#fail(`opcode ${opcode}`);
    this.#end(payload.length >= 2 ? payload.readUInt16BE(0) : 1005, payload.subarray(2).toString());
    this.#write(opcodes.close, payload);
    return this.#tcp.end();
  }

  #fail(why) {
    this.#end(1002, why);
    this.#tcp.destroy();
  }

  #end(code, reason) {
    if (!this.#got.at(-1)?.code) this.#add({ code, reason });
  }

  #add(what) {
    this.#got.push(what);
    this.#wake();
  }
}
