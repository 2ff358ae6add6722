// The page of the chat. What it shows comes from the worker; what it keeps for
// itself is what this window has heard of each room, for as long as it is open.

import { Connection } from './connection.js';

const el = id => document.getElementById(id);
const kept = key => { try { return sessionStorage.getItem(key); } catch { return null; } };
const keep = (key, value) => { try { sessionStorage.setItem(key, value); } catch { /* then not */ } };
const longest = 200; // lines of a room that are kept
const askEvery = 30_000; // milliseconds; see ask

// What the URL asks for: ?gateway=ws://127.0.0.1:8282&name=Ann#lobby
const asked = new URLSearchParams(location.search);
const roomOfURL = () => { try { return decodeURIComponent(location.hash.slice(1)); } catch { return ''; } };

let connection = null, status = 'closed';
let id = '', name = '', room = ''; // as the worker says
let wanted = ''; // the room to be in after a new connection
const people = new Map(); // id: name
let meanwhile = null; // what has come since the list of people was asked for
const heard = new Set(); // what was said, of late

// People have colours by their names.
function colour(name) {
  let n = 0;
  for (const letter of name) n = (n * 31 + letter.codePointAt(0)) % 360;
  return `light-dark(hsl(${n} 70% 33%), hsl(${n} 75% 76%))`;
}

// The log follows what is new, unless somebody has scrolled back to read.
const log = el('log');
let following = true, last = null;
const follow = () => { if (following) log.scrollTop = log.scrollHeight; };
log.onscroll = () => { following = log.scrollHeight - log.scrollTop - log.clientHeight < 40; };
new ResizeObserver(follow).observe(log);

function show(line) {
  const p = document.createElement('p');
  if (line.type === 'note') {
    p.className = 'note';
    p.append(line.text);
  } else {
    p.className = line.own ? 'say own' : 'say';
    if (last?.type === 'say' && last.id === line.id && last.name === line.name && line.at - last.at < 120_000) p.classList.add('next');
    p.style.setProperty('--who', colour(line.name));
    const who = document.createElement('b'), when = document.createElement('time'), at = new Date(line.at);
    who.textContent = line.own ? 'You' : line.name;
    when.dateTime = at.toISOString();
    when.textContent = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const head = document.createElement('div');
    head.append(who, when);
    p.append(head, line.text);
    if (p.classList.contains('next')) head.hidden = true;
  }
  last = line;
  log.append(p);
  while (log.children.length > longest) log.firstElementChild.remove();
  follow();
}

// The lines of each room, so that a reload or a way back does not begin with nothing.
const memory = key => { try { return JSON.parse(kept(`room ${key}`)) ?? []; } catch { return []; } };
function add(line) {
  show(line);
  keep(`room ${room}`, JSON.stringify([...memory(room), line].slice(-longest)));
}
const note = text => add({ type: 'note', text });

function showRoom() {
  log.replaceChildren();
  last = null;
  following = true;
  memory(room).forEach(show);
  el('room').textContent = room;
  document.title = `${room} – chat`;
  history.replaceState(null, '', `#${encodeURIComponent(room)}`);
}

function showPeople(partial) {
  const list = [...people].sort(([, a], [, b]) => a.localeCompare(b));
  el('people').replaceChildren(...list.map(([who, called]) => {
    const li = document.createElement('li');
    li.style.setProperty('--who', colour(called));
    li.append(called);
    if (who === id) {
      const own = document.createElement('i');
      own.textContent = ' (you)';
      li.append(own);
    }
    return li;
  }));
  el('count').textContent = people.size;
  if (partial !== undefined) el('partial').hidden = !partial;
  for (const b of el('rooms').querySelectorAll('[aria-current]')) b.lastChild.textContent = people.size;
}

function showRooms(rooms) {
  if (!rooms.some(r => r.room === room)) rooms.push({ room, people: people.size });
  const list = rooms.map(r => {
    const li = document.createElement('li'), b = document.createElement('button');
    const label = document.createElement('span'), number = document.createElement('span');
    b.type = 'button';
    label.textContent = r.room;
    number.textContent = r.people;
    b.append(label, number);
    if (r.room === room) b.setAttribute('aria-current', 'true');
    b.onclick = () => go(r.room);
    li.append(b);
    return li;
  });
  const focus = el('rooms').contains(document.activeElement) ? document.activeElement.firstChild.textContent : null;
  el('rooms').replaceChildren(...list);
  if (focus !== null) list.find(li => li.firstChild.firstChild.textContent === focus)?.firstChild.focus();
}

function state(what, text) {
  status = what;
  document.documentElement.dataset.connection = what;
  el('state').textContent = text;
  el('send').disabled = what !== 'open';
}

let fading = 0;
function complain(text) {
  el('complaint').textContent = text;
  clearTimeout(fading);
  fading = setTimeout(() => { el('complaint').textContent = ''; }, 6_000);
}

// ask asks for the lists: after each change of the room, and now and then. News of
// who comes and goes are sent once, and what is lost with a gateway is not sent.
function ask(message) {
  meanwhile = [];
  return connection.send(message);
}
setInterval(() => { if (connection?.open && !document.hidden) ask({ type: 'who' }); }, askEvery);

// here tells whether news are of the room that is shown. While a list is under way,
// which may be older than they are, they are kept.
function here(m) {
  const shown = m.room === room;
  meanwhile?.push({ m, shown });
  return shown;
}

function comesOrGoes(m) {
  if (m.type === 'leave') people.delete(m.id);
  else people.set(m.id, m.name);
}

const receive = {
  room(m) {
    const moved = m.room !== room;
    id = m.id;
    name = m.name;
    room = wanted = m.room;
    people.clear();
    people.set(m.id, m.name);
    for (const p of m.people) people.set(p.id, p.name);
    const late = (meanwhile ?? []).filter(({ m }) => m.room === room);
    meanwhile = null;
    if (moved) {
      showRoom();
      note(`You are in ${room}`);
    }
    for (const { m, shown } of late) {
      if (!shown) receive[m.type](m);
      else if (m.type !== 'say') comesOrGoes(m);
    }
    if (document.activeElement !== el('name')) el('name').value = name;
    showPeople(Boolean(m.partial));
    showRooms(m.rooms);
    state('open', `connected as ${name}`);
  },
  join(m) {
    if (!here(m) || m.id === id || people.has(m.id)) return;
    comesOrGoes(m);
    showPeople();
    note(`${m.name} joined`);
  },
  leave(m) {
    if (!here(m) || m.id === id || !people.has(m.id)) return;
    comesOrGoes(m);
    showPeople();
    note(`${m.name} left`);
  },
  name(m) {
    if (!here(m)) return;
    comesOrGoes(m);
    showPeople();
    if (m.id === id) {
      name = m.name;
      keep('name', name);
      state('open', `connected as ${name}`);
    }
    note(m.id === id ? `You are ${m.name} now` : `${m.old} is ${m.name} now`);
  },
  say(m) {
    if (!here(m)) return;
    const what = `${m.id} ${m.n}`; // it may come twice
    if (heard.has(what)) return;
    heard.add(what);
    if (heard.size > 500) heard.delete(heard.values().next().value);
    add({ type: 'say', id: m.id, name: m.name, at: m.at, text: m.text, own: m.id === id });
  },
  error(m) { complain(m.text); },
};

// hear takes news of the types that are known. Others are of a later worker.
function hear(m) {
  if (Object.hasOwn(receive, m.type)) receive[m.type](m);
}

function connect(gateways) {
  const address = gateway => `${gateway}/chat?${new URLSearchParams({ name, room: wanted })}`;
  let before = false;
  connection = new Connection(gateways, address, {
    open() {
      people.clear();
      ask({ type: 'hello' });
      if (before) note('Connected again');
      before = true;
    },
    message: hear,
    lost(why, seconds) {
      if (status === 'open') note(`Connection lost: ${why}`);
      state('lost', `no connection; trying again${seconds >= 1 ? ` in ${Math.round(seconds)} s` : ''}…`);
    },
    end(why) {
      state('closed', 'closed');
      note(`${why}. Reload the page to come back.`);
    },
  });
}

function go(to) {
  to = to.trim();
  aside(false);
  el('text').focus();
  if (to && to !== room) ask({ type: 'enter', room: to });
}

function aside(open) {
  el('chat').classList.toggle('open', open);
  el('more').setAttribute('aria-expanded', open);
}

// The door. A reload keeps name and room of this window.
el('nickname').value = asked.get('name') ?? kept('name') ?? '';
el('first-room').value = roomOfURL();
el('door').onsubmit = async e => {
  e.preventDefault();
  name = el('nickname').value.trim();
  if (!name) return;
  wanted = el('first-room').value.trim() || 'lobby';
  keep('name', name);
  el('door').hidden = true;
  el('chat').hidden = false;
  el('room').textContent = wanted;
  el('text').focus();
  state('connecting', 'connecting…');
  try {
    const gateways = asked.has('gateway') ? asked.getAll('gateway') : (await (await fetch('config.json')).json()).gateways;
    connect(gateways);
  } catch (error) {
    state('closed', 'closed');
    note(`The page has no configuration: ${error.message}`);
  }
};
el('saying').onsubmit = e => {
  e.preventDefault();
  const text = el('text').value.trim();
  if (!text) return;
  if (!connection?.send({ type: 'say', text })) { complain('There is no connection just now.'); return; }
  el('text').value = '';
  following = true;
};
el('going').onsubmit = e => {
  e.preventDefault();
  go(el('new-room').value);
  el('new-room').value = '';
};
el('naming').onsubmit = e => {
  e.preventDefault();
  const to = el('name').value.trim();
  if (to && to !== name) connection?.send({ type: 'name', name: to });
  el('name').value = to || name;
  aside(false);
  el('text').focus();
};
el('more').onclick = () => aside(!el('chat').classList.contains('open'));
addEventListener('keydown', e => { if (e.key === 'Escape') { aside(false); el('text').focus(); } });
addEventListener('hashchange', () => { if (connection?.open && roomOfURL() && roomOfURL() !== room) go(roomOfURL()); });
addEventListener('pagehide', () => connection?.leave());
addEventListener('pageshow', e => { if (e.persisted) location.reload(); });

// For tests, and for whoever wants to know what goes on.
globalThis.chat = {
  state: () => ({ connection: status, gateway: connection?.gateway, id, name, room, people: [...people.values()].sort() }),
  send: m => connection.send(m), // whatever it is
  hear, // as if the worker had said it
};
