// The page: who is here, what is pressed and said, and one picture after the other.

import { Connection } from './connection.js';
import { Shoal, turn } from './shoal.js';
import { Tadpole } from './tadpole.js';
import { Water, shore } from './water.js';

const el = id => document.getElementById(id);
const canvas = el('pond'), c = canvas.getContext('2d', { alpha: false });
const still = matchMedia('(prefers-reduced-motion: reduce)');
const sendEvery = 50, restEvery = 2_000; // milliseconds between two places that are told
const topSpeed = 240; // units a second

// What the URL asks for: ?gateway=ws://127.0.0.1:8282&name=Ann
const asked = new URLSearchParams(location.search);

// Who I am. A reload keeps it.
const names = ['Pip', 'Wiggle', 'Ripple', 'Bubbles', 'Dot', 'Comma', 'Inky', 'Puddle', 'Noodle', 'Squirm', 'Fern', 'Newton'];
const kept = key => { try { return sessionStorage.getItem(key); } catch { return null; } };
const keep = (key, value) => { try { sessionStorage.setItem(key, value); } catch { /* then not */ } };
const pick = list => list[Math.floor(Math.random() * list.length)];
const me = new Tadpole(asked.get('name') || kept('name') || pick(names), Number(kept('hue') ?? pick([8, 28, 46, 74, 96, 285, 320, 345, 205])));
keep('name', me.name);
keep('hue', me.hue);
{
  const a = Math.random() * 2 * Math.PI, r = 60 + Math.random() * 120;
  me.appear(Math.cos(a) * r, Math.sin(a) * r, Math.random() * 6 - 3);
}

const shoal = new Shoal();
const water = new Water();

// What the window shows: scale pixels a unit, with the camera in the middle.
const camera = { x: me.x, y: me.y, scale: 1, width: 0, height: 0, sharp: 1 };

function resize() {
  camera.width = innerWidth;
  camera.height = innerHeight;
  camera.scale = Math.max(0.85, Math.min(1.5, Math.sqrt(innerWidth * innerHeight) / 820));
  canvas.width = Math.round(innerWidth * camera.sharp);
  canvas.height = Math.round(innerHeight * camera.sharp);
}
camera.sharp = Math.min(devicePixelRatio || 1, 2);
addEventListener('resize', resize);
resize();

const toWorld = (x, y) => ({ x: camera.x + (x - camera.width / 2) / camera.scale, y: camera.y + (y - camera.height / 2) / camera.scale });
const toWindow = p => ({ x: (p.x - camera.x) * camera.scale + camera.width / 2, y: (p.y - camera.y) * camera.scale + camera.height / 2 });

// Steering. A pointer is a place in the window, so the tadpole swims on while the
// water moves below it; a tap is a place in the pond.
let pointer = null, goal = null;
const arrows = new Set();

canvas.addEventListener('pointermove', e => {
  if (e.pointerType === 'mouse' || e.buttons) steer(e);
});
canvas.addEventListener('pointerdown', e => {
  steer(e);
  canvas.focus();
  if (!still.matches) water.ring(toWorld(e.clientX, e.clientY).x, toWorld(e.clientX, e.clientY).y, 30, 0.55);
});
canvas.addEventListener('pointerup', e => {
  if (e.pointerType === 'mouse') return;
  goal = toWorld(e.clientX, e.clientY);
  pointer = null;
});
document.documentElement.addEventListener('pointerleave', () => { pointer = null; });

function steer(e) {
  pointer = { x: e.clientX, y: e.clientY };
  goal = null;
  moved();
}

let hinted = false;
function moved() {
  if (hinted) return;
  hinted = true;
  el('hint').classList.add('gone');
}

addEventListener('keydown', e => {
  const field = e.target instanceof HTMLInputElement ? e.target : null;
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.key === 'Escape') { canvas.focus(); return; }
  if (e.key.startsWith('Arrow')) {
    if (field?.value) return; // it moves the cursor there
    arrows.add(e.key);
    pointer = goal = null;
    moved();
    e.preventDefault();
  } else if (!field && (e.key === 'Enter' || (e.key.length === 1 && e.key !== ' '))) {
    el('text').focus(); // and what was pressed is written there
    if (e.key === 'Enter') e.preventDefault();
  }
});
addEventListener('keyup', e => arrows.delete(e.key));
addEventListener('blur', () => arrows.clear());

function target() {
  if (arrows.size) {
    const x = arrows.has('ArrowRight') - arrows.has('ArrowLeft'), y = arrows.has('ArrowDown') - arrows.has('ArrowUp');
    return x || y ? { x: at.x + x * 200, y: at.y + y * 200 } : null;
  }
  return pointer ? toWorld(pointer.x, pointer.y) : goal;
}

// swim moves the own tadpole: towards the target, in a curve, and not on land.
let speed = 0;
function swim(seconds) {
  for (let left = seconds; left > 0; left -= 0.02) stroke(Math.min(left, 0.02)); // the same path at any pace
  me.follow(at.x, at.y, at.a, seconds, still.matches);
}

const at = { x: me.x, y: me.y, a: me.a };
function stroke(seconds) {
  const to = target();
  let { x, y, a } = at, wanted = 0;
  if (to) {
    const dx = to.x - x, dy = to.y - y, far = Math.hypot(dx, dy);
    if (far > 6) {
      const off = turn(a, Math.atan2(dy, dx));
      a += Math.sign(off) * Math.min(Math.abs(off), seconds * (2.2 + 3.4 * Math.min(1, Math.abs(off))));
      // Not so fast when it has to turn, or is nearly there.
      wanted = Math.min(topSpeed, far * 2.1) * Math.max(0.22, Math.cos(off / 2) ** 2);
    } else if (goal) goal = null;
  }
  speed += (wanted - speed) * Math.min(1, seconds * (wanted > speed ? 3.2 : 7));
  x += Math.cos(a) * speed * seconds;
  y += Math.sin(a) * speed * seconds;
  const r = Math.hypot(x, y), most = shore(Math.atan2(y, x)) - 34;
  if (r > most) { x *= most / r; y *= most / r; }
  Object.assign(at, { x, y, a: turn(0, a) });
}

// The connection, and what comes over it.
let told = { at: -1e9, x: 0, y: 0, a: 0, asleep: false }, greet = false;
let connection = null, status = 'connecting';

function show(state, text) {
  status = state;
  document.documentElement.dataset.connection = state;
  el('state').textContent = text;
  el('send').disabled = state !== 'open';
}

function note(text) { // for those who listen to the page
  const line = document.createElement('p');
  line.textContent = text;
  el('log').append(line);
  while (el('log').children.length > 50) el('log').firstElementChild.remove();
}

let fading = 0;
const receive = {
  welcome(m) {
    me.id = m.id;
    rename(m.name);
  },
  join(m) {
    if (shoal.met(m)) note(`${m.name} is here`);
    greet = true; // it wants to know where everybody is
  },
  name(m) {
    const before = shoal.tadpoles.get(m.id)?.name;
    shoal.met(m);
    if (before && before !== m.name) note(`${before} is ${m.name} now`);
  },
  move(m) {
    shoal.met(m);
    shoal.moved(m);
  },
  say(m) {
    shoal.met(m);
    if (!shoal.said(m)) return;
    note(`${m.name}: ${m.text}`);
    const t = shoal.tadpoles.get(m.id);
    if (!still.matches && t.places.length) water.ring(t.x, t.y, 60, 0.5);
  },
  leave(m) {
    const t = shoal.tadpoles.get(m.id);
    if (!t) return;
    note(`${t.name} is gone`);
    if (!still.matches && t.places.length) water.ring(t.x, t.y, 46, 0.6);
    shoal.left(m.id);
  },
  error(m) {
    console.info('the pond says:', m.text);
    el('complaint').textContent = m.text;
    clearTimeout(fading);
    fading = setTimeout(() => { el('complaint').textContent = ''; }, 6_000);
  },
};

// hear takes news of the types that are known. Others are of a later worker.
function hear(m) {
  if (Object.hasOwn(receive, m.type)) receive[m.type](m);
}

function connect(gateways) {
  const address = gateway => `${gateway}/pond?${new URLSearchParams({ name: me.name, hue: me.hue })}`;
  connection = new Connection(gateways, address, {
    open(gateway) {
      shoal.emptied();
      told.at = -1e9;
      connection.send({ type: 'hello' });
      show('open', 'connected');
      el('state').title = `to ${gateway}`;
    },
    message: hear,
    lost(why, seconds) {
      show('lost', `trying again${seconds >= 1 ? ` in ${Math.round(seconds)} s` : ''}…`);
      el('state').title = why;
    },
    end(why) {
      show('closed', `${why}. Reload the page to come back.`);
    },
  });
}

// tell says where the own tadpole is, up to 20 times a second; at rest now and
// then, so that nobody thinks it gone.
function tell() {
  const now = performance.now(), asleep = document.hidden;
  const still = Math.hypot(me.x - told.x, me.y - told.y) < 0.4 && Math.abs(turn(told.a, me.a)) < 0.02 && asleep === told.asleep;
  if (still && !greet && now - told.at < restEvery) return;
  const place = { x: Math.round(me.x * 10) / 10, y: Math.round(me.y * 10) / 10, a: Math.round(me.a * 1000) / 1000 };
  if (!connection?.send({ type: 'move', ...place, at: Math.round(now), asleep })) return;
  told = { x: me.x, y: me.y, a: me.a, at: now, asleep };
  greet = false;
}
setInterval(tell, sendEvery);
document.addEventListener('visibilitychange', tell);

let called = me.name; // what it asked to be called last, if it is not yet

function rename(name) {
  me.name = called = name;
  keep('name', name);
  if (document.activeElement !== el('name')) el('name').value = name;
}

el('name').value = me.name;
el('name').onchange = () => {
  const name = el('name').value.trim();
  if (name && name !== called) {
    called = name;
    connection?.send({ type: 'name', name });
  }
  el('name').value = name || me.name;
};
el('naming').onsubmit = e => {
  e.preventDefault();
  el('text').focus(); // which is a change of the name, if it is one
};
el('saying').onsubmit = e => {
  e.preventDefault();
  const text = el('text').value.trim();
  if (!text || !connection?.send({ type: 'say', text })) return;
  me.say(text);
  note(`${me.name}: ${text}`);
  el('text').value = '';
};
addEventListener('pagehide', () => connection?.leave());
addEventListener('pageshow', e => { if (e.persisted) location.reload(); });

// One picture after the other.
const work = []; // milliseconds that each of the last pictures took here
let last = performance.now(), pace = 16.7, fine = true, wakes = 0, counted = -1;

function frame(now) {
  const began = performance.now();
  const seconds = Math.min(0.1, Math.max(0, (now - last) / 1000));
  adapt(now - last);
  last = now;
  const calm = still.matches, time = calm ? 0 : now / 1000;
  swim(seconds);
  shoal.swim(seconds, calm);
  pan(seconds);
  if (!calm) wake(seconds);

  const { scale, sharp, width, height } = camera;
  c.setTransform(scale * sharp, 0, 0, scale * sharp,
    (width / 2 - camera.x * scale) * sharp, (height / 2 - camera.y * scale) * sharp);
  const view = { left: camera.x - width / 2 / scale, top: camera.y - height / 2 / scale, width: width / scale, height: height / scale };
  water.below(c, view, time, seconds, fine && !calm);
  const others = [...shoal.shown()], near = [];
  for (const t of others) {
    const p = toWindow(t);
    if (p.x > -80 && p.x < width + 80 && p.y > -80 && p.y < height + 80) near.push([t, p, false]);
  }
  near.push([me, toWindow(me), true]);
  for (const [t, , own] of near) t.draw(c, own);
  water.above(c, view, time);
  c.setTransform(sharp, 0, 0, sharp, 0, 0);
  for (const [t, p, own] of near) t.drawName(c, p.x, p.y, scale, own);
  for (const t of others) point(t);
  for (const [t, p] of near) t.drawBubble(c, p.x, p.y, scale, width, calm);

  if (others.length !== counted) {
    counted = others.length;
    el('count').textContent = counted === 0 ? 'you are alone' : `${counted + 1} tadpoles`;
  }
  work.push(performance.now() - began);
  if (work.length > 60) work.shift();
  requestAnimationFrame(frame);
}

// pan has the camera follow when the tadpole comes near the edge of the window.
function pan(seconds) {
  const roomX = camera.width * 0.2 / camera.scale, roomY = camera.height * 0.17 / camera.scale;
  const dx = me.x - camera.x, dy = me.y - camera.y;
  const ease = Math.min(1, seconds * 2.6);
  camera.x += (dx - Math.max(-roomX, Math.min(roomX, dx))) * ease;
  camera.y += (dy - Math.max(-roomY, Math.min(roomY, dy))) * ease;
}

// wake leaves rings where somebody swims fast.
function wake(seconds) {
  wakes += seconds;
  if (wakes < 0.16) return;
  wakes = 0;
  for (const t of [me, ...shoal.shown()]) {
    if (t.speed > 90 && Math.random() < t.speed / 330) water.ring(t.tip.x, t.tip.y, 13 + t.speed / 16, 0.28);
  }
}

// point shows at the edge where somebody is who is out of sight.
function point(t) {
  const p = toWindow(t), { width, height } = camera, margin = 20;
  if (p.x > -10 && p.x < width + 10 && p.y > -10 && p.y < height + 10) return;
  const x = Math.max(margin, Math.min(width - margin, p.x)), y = Math.max(margin + 44, Math.min(height - margin - 64, p.y));
  c.save();
  c.translate(x, y);
  c.rotate(Math.atan2(p.y - y, p.x - x));
  c.fillStyle = `hsl(${t.hue} 75% 66%)`;
  c.strokeStyle = 'rgb(2 32 44 / .8)';
  c.lineWidth = 2;
  c.beginPath();
  c.moveTo(9, 0);
  c.lineTo(-6, -6);
  c.lineTo(-3, 0);
  c.lineTo(-6, 6);
  c.closePath();
  c.stroke();
  c.fill();
  c.restore();
}

// adapt gives up some beauty where the machine cannot keep up.
let slow = 0;
function adapt(took) {
  if (document.hidden || took > 400) return;
  pace += (took - pace) * 0.05;
  slow = pace > 22 ? slow + took : Math.max(0, slow - took);
  if (slow < 2_500) return;
  slow = 0;
  if (camera.sharp > 1) camera.sharp = 1;
  else if (fine) fine = false;
  else camera.sharp = 0.7;
  resize();
}

// For tests, and for whoever wants to know what goes on: pond.state() in the
// console.
globalThis.pond = {
  state: () => ({
    connection: status, gateway: connection?.gateway, fps: Math.round(1000 / pace), fine, sharp: camera.sharp,
    work: Math.min(...work), // of a busy machine, the least says what a picture takes
    me: { id: me.id, name: me.name, hue: me.hue, x: me.x, y: me.y, says: me.bubble?.text ?? '' },
    others: [...shoal.shown()].map(t => ({ id: t.id, name: t.name, hue: t.hue, x: t.x, y: t.y, says: t.bubble?.text ?? '', asleep: t.asleep })),
  }),
  swimTo(x, y) { pointer = null; arrows.clear(); goal = { x, y }; },
  send: m => connection.send(m), // whatever it is
  hear, // as if the worker had said it
};

show('connecting', 'connecting…');
requestAnimationFrame(frame);
if (asked.has('gateway')) connect(asked.getAll('gateway'));
else fetch('config.json').then(r => r.json()).then(config => connect(config.gateways), e => show('closed', `no configuration: ${e.message}`));
