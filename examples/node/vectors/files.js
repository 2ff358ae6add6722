// How the vectors of each file are played. A player returns what is wanted and what
// was got.
import { checkGateway, escape, parseClient, parseEvent, Refused, unescape } from './protocol.js';

export const players = {
  'names.json': playName,
  'events.json': playEvent,
  'replies.json': playReply,
  'open.json': playOpen,
  'pushes.json': playPush,
  'commands.json': playCommands,
  'close-codes.json': playCode,
};

// payload is what is given as data or data_base64.
function payload({ data = '', data_base64: base64 }) {
  return base64 === undefined ? Buffer.from(data) : Buffer.from(base64, 'base64');
}

// fill puts names and ids in the place of {gateway}, {a}, …
function fill(value, names) {
  if (typeof value === 'string') return value.replace(/\{(gateway|[a-c])\}/g, (all, name) => names[name] ?? all);
  if (Array.isArray(value)) return value.map((v) => fill(v, names));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, fill(v, names)]));
}

function namesOf(cluster, clients) {
  const names = { gateway: cluster.gateway };
  for (const [name, client] of Object.entries(clients)) names[name] = client.id;
  return names;
}

// attempt is what fn returns, or { refused: true }.
function attempt(fn) {
  try {
    return fn();
  } catch (err) {
    if (err instanceof Refused) return { refused: true };
    throw err;
  }
}

function same(what, a, b) {
  if (a !== b) throw new Error(`${what}: ${a} and ${b}`);
}

async function playName(cluster, given, want) {
  if (given.check !== undefined) {
    return { want, got: attempt(() => { checkGateway(given.check); return { refused: false }; }) };
  }
  if (given.client !== undefined) {
    const answer = await cluster.command('info', JSON.stringify({ client: given.client }));
    same('the gateway refuses it', answer.code === 'bad_request', Boolean(want.refused));
    return { want, got: attempt(() => parseClient(given.client)) };
  }
  if (given.unescape !== undefined) {
    const { a } = await cluster.letIn({ a: want.raw === undefined ? {} : { uid: want.raw } });
    const pushed = await cluster.request(`gw.${cluster.gateway}.push.uid.${given.unescape}`, 'x');
    same('the gateway refuses it', pushed.code === 'bad_request', Boolean(want.refused));
    if (!want.refused) same('clients reached', pushed.clients, 1);
    return { want, got: attempt(() => ({ raw: unescape(given.unescape) })) };
  }
  const bytes = given.escape === undefined ? Buffer.from(given.escape_base64, 'base64') : Buffer.from(given.escape.repeat(given.times ?? 1));
  const got = attempt(() => ({ token: escape(bytes) }));
  await (got.refused ? refusedEverywhere(cluster, bytes) : carriedEverywhere(cluster, bytes, got.token));
  return { want, got };
}

// json is text of JSON with the bytes of a name in the place of NAME, as they are.
function json(text, bytes) {
  const quoted = Buffer.from(JSON.stringify(bytes.toString('latin1')).replace(/\\u00([89a-f])/g, '\\u00$1'), 'latin1');
  const [before, after] = text.split('NAME');
  return Buffer.concat([Buffer.from(before), quoted, Buffer.from(after)]);
}

async function carriedEverywhere(cluster, bytes, token) {
  const raw = bytes.toString();
  const { a } = await cluster.letIn({ a: { uid: raw, groups: [raw] } });
  const event = new Promise((resolve) => cluster.handle(a, (message) => {
    message.respond();
    resolve(message);
  }));
  a.socket.send('text', 'x');
  same('Gb-Uid', (await event).headers.get('Gb-Uid'), token);
  for (const scope of ['uid', 'group']) {
    same(`push to the ${scope}`, (await cluster.request(`gw.${cluster.gateway}.push.${scope}.${token}`, 'x')).clients, 1);
    same(`push to ${scope}s`, (await cluster.request(`gw.${cluster.gateway}.push.${scope}s`, 'x', { 'Gb-To': token })).clients, 1);
    const listed = await cluster.command('list', JSON.stringify({ of: `${scope}s` }));
    same(`${scope}s`, JSON.stringify(listed.names), JSON.stringify([{ name: raw, clients: 1 }]));
  }
}

async function refusedEverywhere(cluster, bytes) {
  const { a } = await cluster.letIn({ a: {} });
  for (const [operation, text] of [
    ['bind', `{"client":"${a.id}","uid":NAME}`], ['join', `{"client":"${a.id}","groups":[NAME]}`],
    ['leave', `{"client":"${a.id}","groups":[NAME]}`], ['dissolve', '{"group":NAME}'],
    ['count', '{"of":"clients","uids":[NAME]}'], ['list', '{"of":"clients","uids":[NAME]}'],
  ]) {
    same(operation, (await cluster.command(operation, json(text, bytes))).code, 'bad_request');
  }
  same('open', (await cluster.connect(json('{"groups":[NAME]}', bytes))).status, 502);
}

async function playEvent(cluster, given, want) {
  let names = { gateway: 'g1', a: 'g1-9ix1lr1mnk7d-1' };
  if (given.cause) {
    const { client, message } = await caused(cluster, given.cause);
    names = { gateway: cluster.gateway, a: client.id };
    const wanted = fill(given, names);
    same('subject', message.subject, wanted.subject);
    same('reply subject', message.reply, wanted.reply);
    same('payload', Buffer.from(message.data).toString('latin1'), payload(wanted).toString('latin1'));
    const headers = Object.fromEntries((message.headers?.keys() ?? []).map((key) => [key, message.headers.get(key)]));
    same('headers', JSON.stringify(Object.entries(headers).sort()), JSON.stringify(Object.entries(wanted.headers ?? {}).sort()));
  }
  const { subject, reply, headers = {}, ...rest } = fill(given, names);
  const got = attempt(() => {
    const { data, ...event } = parseEvent(subject, reply, (name) => headers[name] ?? '', payload(rest));
    return { ...event, data: data.toString(), data_base64: data.toString('base64') };
  });
  if (got.refused) return { want, got: { ignored: true } };
  return { want: fill(want, names), got };
}

// caused has a client do something, and returns the event that comes of it.
async function caused(cluster, cause) {
  const { a: client } = await cluster.letIn({ a: cause.open ?? {} });
  for (const [operation, request] of cause.commands ?? []) {
    same(operation, (await cluster.command(operation, JSON.stringify(fill(request, { a: client.id })))).clients, 1);
  }
  const event = new Promise((resolve) => cluster.handle(client, (message, { delivery }) => {
    if (cause.unanswered !== undefined && delivery === 1) return;
    message.respond();
    resolve(message);
  }));
  if (cause.close) client.socket.close(cause.close.code, cause.close.reason);
  else if (cause.cut) client.socket.cut();
  else if (cause.binary_base64 !== undefined) client.socket.send('binary', Buffer.from(cause.binary_base64, 'base64'));
  else client.socket.send('text', cause.text ?? cause.unanswered);
  return { client, message: await event };
}

async function playReply(cluster, given, want) {
  if (!want.client) return { want: {}, got: {} };
  let times = 0;
  let second;
  const again = new Promise((resolve) => { second = resolve; });
  const handle = (message, { kind, delivery }) => {
    if (kind === 'close') return message.respond();
    if (++times === 1) return cluster.respond(message, payload(given), given.headers);
    message.respond(kind === 'open' ? '' : 'again');
    return second(delivery === 1);
  };
  if (given.event === 'open') {
    const { socket, status, body } = await cluster.connect('', { handle });
    if (want.client.again) return { want: want.client, got: { again: await again } };
    return { want: want.client, got: socket ? { accepted: true } : { refused: status, body } };
  }
  const { a } = await cluster.letIn({ a: {} });
  let first;
  const handled = new Promise((resolve) => { first = resolve; });
  cluster.handle(a, (message, event) => {
    if (event.kind !== 'close') first(message);
    handle(message, event);
  });
  a.socket.send(given.event, 'ask');
  const message = await handled;
  if (want.client.again) return { want: want.client, got: { again: await again } };
  const got = await cluster.received(a);
  if (!want.client.waits) return { want: { close: null, ...want.client }, got };
  message.respond('later');
  return { want: { waits: true, frames: [{ kind: 'text', data: 'later' }] }, got: { ...(await cluster.received(a)), waits: got.frames.length === 0 } };
}

// fates are what has become of clients.
async function fates(cluster, clients, wanted = {}) {
  const got = {};
  for (const name of Object.keys(wanted)) {
    const { frames, close } = await cluster.received(clients[name]);
    if (!close) got[name] = frames.length ? { frames } : 'stays';
    else got[name] = typeof wanted[name] === 'number' ? close.code : { frames, ...close };
  }
  return got;
}

async function playOpen(cluster, given, { client: want }) {
  const clients = await cluster.letIn(given.clients);
  const { id, socket, protocol, status } = await cluster.connect(payload(given), { offers: given.offers });
  const others = await fates(cluster, clients, want.others);
  if (!socket) return { want, got: { refused: status, others } };
  const { items } = await cluster.command('info', JSON.stringify({ client: id }));
  const { uid, groups, session, version } = items[0];
  return { want, got: { accepted: true, uid, groups, session, version, subprotocol: protocol, others } };
}

async function playPush(cluster, given, { answer, frames }) {
  const clients = await cluster.letIn(given.clients);
  const names = namesOf(cluster, clients);
  const { subject, headers, ...rest } = fill(given, names);
  const got = { answer: await cluster.request(subject, payload(rest), headers), frames: {} };
  for (const [name, client] of Object.entries(clients)) got.frames[name] = (await cluster.received(client)).frames;
  return { want: fill({ answer, frames }, names), got };
}

async function playCommands(cluster, given, { answers, after }) {
  const clients = await cluster.letIn(given.clients);
  const names = namesOf(cluster, clients);
  const got = { answers: [] };
  const want = { answers: [] };
  for (const [i, [operation, request]] of given.steps.entries()) {
    const answer = await cluster.command(operation, requestOf(fill(request, names)));
    const { session_json: session, by, ...wanted } = fill(answers[i], names);
    if (session !== undefined) same('session in the answer', answer.text.includes(`"session":${session}`), true);
    got.answers.push(answer);
    want.answers.push(wanted);
  }
  if (after) [want.after, got.after] = [after, await fates(cluster, clients, after)];
  return { want, got };
}

function requestOf(request) {
  if (request.json !== undefined) return request.json;
  if (request.json_base64 !== undefined) return Buffer.from(request.json_base64, 'base64');
  return JSON.stringify(request);
}

async function playCode(cluster, { code }, want) {
  const { a } = await cluster.letIn({ a: {} });
  const answer = await cluster.command('close', JSON.stringify({ client: a.id, code }));
  const { close } = await cluster.received(a);
  return { want: { application: want.application, code: want.application ? code : null }, got: { application: answer.clients === 1, code: close?.code } };
}
