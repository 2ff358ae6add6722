// The plain protocol of gatebus, as far as a worker or pusher needs it: names and
// events. It is written after docs/protocol.md alone.

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Refused extends Error {}

// escape makes one token of a uid or client group, given as a string or as bytes.
export function escape(name) {
  const bytes = typeof name === 'string' ? encoder.encode(checkCharacters(name)) : name;
  checkName(bytes);
  let token = '';
  for (const b of bytes) {
    const c = String.fromCharCode(b);
    token += /[A-Za-z0-9_-]/.test(c) ? c : '%' + b.toString(16).toUpperCase().padStart(2, '0');
  }
  return token;
}

// unescape reads such a token.
export function unescape(token) {
  if (!/^(?:[A-Za-z0-9_-]|%[0-9A-Fa-f]{2})*$/.test(token)) throw new Refused(`${token} is not escaped`);
  const bytes = [];
  for (let i = 0; i < token.length; i++) {
    if (token[i] === '%') {
      bytes.push(parseInt(token.slice(i + 1, i + 3), 16));
      i += 2;
    } else {
      bytes.push(token.charCodeAt(i));
    }
  }
  return checkName(Uint8Array.from(bytes));
}

// checkCharacters refuses half a surrogate pair, which the encoder would replace.
function checkCharacters(s) {
  if (/[\ud800-\udfff]/u.test(s)) throw new Refused('half of a surrogate pair');
  return s;
}

// checkName returns the characters of the bytes of a name.
function checkName(bytes) {
  if (bytes.length < 1 || bytes.length > 256) throw new Refused(`${bytes.length} bytes: a name has 1 to 256`);
  try {
    return decoder.decode(bytes);
  } catch {
    throw new Refused('not UTF-8');
  }
}

// checkGateway refuses what cannot name a gateway, worker, register or worker group.
export function checkGateway(name) {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new Refused(`${name} is no name`);
}

// parseClient takes a client id apart.
export function parseClient(id) {
  const m = /^([A-Za-z0-9_-]{1,64})-(0|[1-9a-z][0-9a-z]{0,12})-(0|[1-9a-z][0-9a-z]{0,12})$/.exec(id);
  if (!m || m[1] === 'all') throw new Refused(`${id} is no client id`);
  return { gateway: m[1], epoch: m[2], number: m[3] };
}

// parseEvent reads an event: its subject, the subject where it is to be answered,
// its headers (a function that returns the value of one, '' if it is not there), and
// its payload.
export function parseEvent(subject, reply, header, data) {
  const to = /^gw\.([A-Za-z0-9_-]{1,64})\.(?:in\.([A-Za-z0-9_-]{1,64})|at\.([A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64})?))\.(open|text|binary|close)$/.exec(subject);
  const from = /^gw\.([A-Za-z0-9_-]{1,64})\.out\.([A-Za-z0-9_-]+)\.(0|[1-9][0-9]*)$/.exec(reply);
  if (!to || !from || from[1] !== to[1] || BigInt(from[3]) >= 1n << 64n) throw new Refused(`${subject} with ${reply} is no event`);
  const event = { gateway: to[1], kind: to[4], client: from[2], seq: from[3], delivery: 1, data };
  if (to[2]) event.group = to[2];
  if (to[3]) event.worker = to[3];
  if (header('Gb-Delivery')) event.delivery = count('Gb-Delivery', header);
  if (header('Gb-Uid')) event.uid = unescape(header('Gb-Uid'));
  if (header('Gb-Session')) event.session = header('Gb-Session');
  if (header('Gb-State')) event.state = String(count('Gb-State', header));
  if (header('Gb-Route') === 'sticky') event.sticky = true;
  if (/^[!-~]{1,128}$/.test(header('traceparent'))) {
    event.traceparent = header('traceparent');
    if (header('tracestate')) event.tracestate = header('tracestate');
  }
  return event;
}

function count(name, header) {
  if (!/^[0-9]+$/.test(header(name))) throw new Refused(`${name} is no number`);
  return Number(header(name));
}
