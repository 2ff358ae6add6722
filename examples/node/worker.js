// A gatebus worker: it answers a text with the same text in capitals, and a
// binary frame with itself.
//
//   node worker.js nats://127.0.0.1:8300              the bus of a gateway
//   node worker.js nats://127.0.0.1:8300 worker.nk    where a secret is set
import { readFile } from 'node:fs/promises';
import { AuthorizationError, connect, headers, nkeyAuthenticator } from '@nats-io/transport-node';

const bus = process.argv[2] ?? process.env.NATS_URL ?? 'nats://127.0.0.1:8300';
// The file of the seed, which "gatebus credentials --role worker --out FILE" writes.
const seed = process.argv[3] ?? process.env.NATS_NKEY;

const options = { servers: bus, name: 'node worker', maxReconnectAttempts: -1 };
if (seed) {
  const key = await readFile(seed, 'utf8').catch((err) => {
    console.error(`The seed cannot be read: ${err.message}`);
    process.exit(1);
  });
  options.authenticator = nkeyAuthenticator(new TextEncoder().encode(key.trim()));
}
// Where the links have TLS: the files that "gatebus credentials" names, of the
// authority and, if the gateway asks for one, of a certificate.
const { NATS_CA: caFile, NATS_CERT: certFile, NATS_KEY: keyFile } = process.env;
// That the certificate is for an address, not a name, is checked only with host.
if (caFile) options.tls = { caFile, certFile, keyFile, host: new URL(bus).hostname };

const nats = await connect(options).catch((err) => {
  if (err instanceof AuthorizationError) {
    console.error(`The gateway at ${bus} does not accept ${seed ? `the key in ${seed}` : 'a worker without a key'}: ${err.message}`);
    console.error('Make one with its secret:  gatebus credentials -c FILE --role worker --out worker.nk');
    console.error('and name it:               node worker.js nats://HOST:PORT worker.nk');
    process.exit(1);
  }
  console.error(`No gateway answers at ${bus}: ${err.message}`);
  console.error('Start one:              go run ./cmd/gatebus gateway');
  console.error('Or say where its bus is: node worker.js nats://HOST:PORT');
  process.exit(1);
});

// One worker of the queue group gets each event, and its reply acknowledges it.
const events = nats.subscribe('gw.*.in.default.*', { queue: 'default' });
await nats.flush(); // from here on, events come
console.log(`working for the gateway at ${bus}; Ctrl-C ends it`);

// Leave without losing anything: take no more events, answer those at hand, go.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => nats.drain());

for await (const event of events) {
  switch (event.subject.split('.').at(-1)) {
    case 'open': // the payload is JSON: client, remote, path, query, headers
    case 'close': // the payload is JSON: client, code, reason
      event.respond();
      break;
    case 'text':
      answer(event, 'text', event.string().toUpperCase());
      break;
    case 'binary':
      answer(event, 'binary', event.data);
      break;
  }
}

// answer acknowledges an event and sends its client a frame. That the reply
// names its kind makes it a frame even if it is empty.
function answer(event, kind, data) {
  const named = headers();
  named.set('Gb-Kind', kind);
  event.respond(data, { headers: named });
}
