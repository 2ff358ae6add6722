// Plays the test vectors of docs/protocol against a running gateway, as a plain NATS
// client and WebSocket clients that have nothing of gatebus. It must be the only
// worker of the gateway, and have its clients for itself.
//
//   node vectors/run.js nats://127.0.0.1:8300 http://127.0.0.1:8282 ../../docs/protocol
//
// It prints a line of JSON for each vector, and ends with 1 if one has failed.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect as connectBus } from '@nats-io/transport-node';
import { Cluster } from './cluster.js';
import { differences } from './compare.js';
import * as files from './files.js';

const [, , bus, clients, directory] = process.argv;
if (!directory) {
  console.error('usage: node vectors/run.js BUS CLIENTS DIRECTORY');
  process.exit(2);
}
const patience = 10_000; // for one vector, in milliseconds

const nats = await connectBus({ servers: bus, name: 'protocol vectors', reconnect: false });
const cluster = await Cluster.start(nats, clients);
let failed = 0;
for (const [file, play] of Object.entries(files.players)) {
  const { vectors } = JSON.parse(await readFile(join(directory, file), 'utf8'));
  for (const vector of vectors) {
    const errors = await within(patience, () => check(play, vector));
    await cluster.leave();
    if (errors.length) failed++;
    console.log(JSON.stringify({ file, name: vector.name, ok: errors.length === 0, errors }));
  }
}
await nats.close();
process.exit(failed ? 1 : 0);

async function check(play, vector) {
  try {
    const { want, got } = await play(cluster, vector.given, vector.want);
    return differences(want, got);
  } catch (err) {
    return [err.stack];
  }
}

function within(ms, fn) {
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(() => resolve([`nothing came in ${ms} ms`]), ms); });
  return Promise.race([fn(), late]).finally(() => clearTimeout(timer));
}
