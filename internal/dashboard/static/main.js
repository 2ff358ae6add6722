// The dashboard: signs in, follows the state of the cluster, and shows it.

import './clients.js';
import { by, clock, count, el, many, rate, seconds, state, visible } from './format.js';
import { follow, token } from './http.js';
import { draw, linksUp } from './picture.js';
import { Plot } from './plot.js';
import { fillTables } from './tables.js';

const throughput = new Plot('throughput', { in: 'in', out: 'out' }, rate);
const latency = new Plot('latency', { p50: 'p50', p99: 'p99' }, seconds);
const mostNotes = 200;
let seen = { samples: 0, notes: 0 }, at = null, wrong = '', connected = false;

function text(id, value) { if (by(id).textContent !== value) by(id).textContent = value; }

function overall(s, words) {
  by('overall').className = `state ${s}`;
  text('overall', words);
  document.title = s === 'ok' ? 'gatebus' : `${words} · gatebus`;
}

function banner(words) {
  by('banner').hidden = !words;
  if (words) text('banner', words);
  document.body.classList.toggle('stale', Boolean(words));
}

function show(v) {
  connected = true;
  by('main').hidden = false;
  by('door').hidden = true;
  wrong = v.error ? 'No register answers; trying again.' : '';
  // A page that comes back has most of it; a process that was restarted numbers anew.
  const samples = v.samples.filter(s => s.n > seen.samples), notes = v.notes.filter(n => n.n > seen.notes);
  throughput.add(samples);
  latency.add(samples);
  for (const n of notes) {
    by('notes').prepend(el('li', {}, el('time', {}, clock(n.at)), state(n.state), el('span', {}, n.name ? el('b', {}, `${n.role} ${visible(n.name)} `) : '', visible(n.what))));
  }
  while (by('notes').children.length > mostNotes) by('notes').lastChild.remove();
  by('no-notes').hidden = by('notes').children.length > 0;
  seen = { samples: samples.at(-1)?.n ?? seen.samples, notes: notes.at(-1)?.n ?? seen.notes };
  const r = v.report;
  if (!r) {
    overall(v.error ? 'gone' : 'unknown', v.error ? 'no register' : 'looking');
    tick();
    return;
  }
  at = new Date(v.at);
  draw(r, v.conditions);
  fillTables(r, v.conditions);
  const bad = v.conditions.filter(c => c.state !== 'ok'), [up, all] = linksUp(r);
  text('k-members', `${v.conditions.length - bad.length} of ${v.conditions.length} ok`);
  text('k-links', `${up} of ${all}`);
  text('k-connections', count(r.total.connections));
  text('k-in', rate(r.total.frames_in_per_second) + '/s');
  text('k-out', rate(r.total.frames_out_per_second) + '/s');
  text('k-p50', seconds(r.total.ack_latency?.p50_seconds));
  text('k-p99', seconds(r.total.ack_latency?.p99_seconds));
  if (wrong) overall('gone', 'no register');
  else if (bad.some(c => c.state === 'gone')) overall('gone', many(bad.filter(c => c.state === 'gone').length, 'member') + ' gone');
  else if (bad.length > 0) overall('degraded', many(bad.length, 'member') + ' degraded');
  else if (r.gateways.length === 0) overall('degraded', 'no gateway');
  else overall('ok', 'all members ok');
  tick();
}

// tick says how old it is what is shown.
function tick() {
  const age = at ? Math.max(0, Math.round((Date.now() - at) / 1000)) : 0;
  text('asof', at ? `as of ${clock(at)}` : '');
  banner(wrong ? wrong + (at ? ` What is shown is ${many(age, 'second')} old.` : '') : '');
}
setInterval(tick, 1000);

function door(why) {
  by('main').hidden = true;
  by('door').hidden = false;
  by('door-why').textContent = why;
  overall('unknown', 'not signed in');
  text('asof', '');
  banner('');
  by('token').focus();
}

let stream = null;
async function run() {
  stream?.abort();
  const mine = stream = new AbortController();
  by('signout').hidden = !token.get();
  for (let pause = 500; !mine.signal.aborted; pause = Math.min(pause * 2, 5000)) {
    try {
      let first = true;
      await follow('live', mine.signal, (event, v) => {
        if (event !== 'state') return;
        // The numbers begin anew with the process.
        if (first && (v.samples.at(-1)?.n ?? 0) < seen.samples) { seen = { samples: 0, notes: 0 }; by('notes').replaceChildren(); throughput.samples = []; latency.samples = []; }
        first = false;
        pause = 500;
        show(v);
      });
      wrong = 'This process has ended the stream; trying again.';
    } catch (err) {
      if (mine.signal.aborted) return;
      if (err.status === 401) {
        door(token.get() ? 'That token is not one of those that are configured.' : '');
        token.clear();
        by('signout').hidden = true;
        return;
      }
      wrong = err.status === 0 || err.status === undefined ? 'This process does not answer; trying again.' : visible(err.message);
    }
    overall('gone', connected ? 'connection lost' : 'no connection');
    by('main').hidden = false;
    tick();
    await new Promise(done => setTimeout(done, pause));
  }
}

by('signin').addEventListener('submit', e => {
  e.preventDefault();
  token.set(by('token').value.trim());
  by('token').value = '';
  by('door-why').textContent = '';
  run();
});
by('signout').addEventListener('click', () => { token.clear(); stream?.abort(); location.reload(); });
run();
