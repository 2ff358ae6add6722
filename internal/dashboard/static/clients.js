// Who is connected: search by uid, group or id, what is known of one, push and close.

import { ask, toast } from './ask.js';
import { by, day, el, many, visible } from './format.js';
import { call } from './http.js';
import { tap } from './tap.js';

const shownAtMost = 100;
let last = 0; // search

const name = to => 'all' in to ? 'all clients' : Object.entries(to).map(([k, v]) => `${k} ${visible(v)}`)[0];

// whom is how many clients are meant now, in words.
async function whom(to) {
  if (to.client) return 'one client';
  const path = to.uid ? 'uids/' + encodeURIComponent(to.uid) : to.group ? 'groups/' + encodeURIComponent(to.group) : 'counts';
  const answer = await call('GET', path);
  return many(answer.clients ?? answer.count ?? 0, 'client');
}

async function push(to) {
  let n = 'those there are';
  try { n = await whom(to); } catch { /* it is said when it is done */ }
  ask({
    title: `Push to ${name(to)}`, what: `A text frame goes to ${n}, at once.`, yes: `Push to ${n}`,
    fields: [{ name: 'text', label: 'Text of the frame', long: true }],
    act: async ({ text }) => {
      const { clients, missing } = await call('POST', 'push', { to, text });
      toast(`Pushed to ${many(clients, 'client')}${missing ? `; ${many(missing.length, 'gateway')} did not answer` : ''}.`);
    },
  });
}

async function close(to) {
  let n = 'those there are';
  try { n = await whom(to); } catch { /* it is said when it is done */ }
  ask({
    title: `Close ${name(to)}`, what: `The connection of ${n} is closed. It cannot be undone; clients may connect again.`, yes: to.client ? 'Close the client' : `Close ${n}`, danger: true,
    fields: [
      { name: 'code', label: 'Close code (empty: 4002, kicked)', number: true, hint: '1000, or 4100 to 4999' },
      { name: 'reason', label: 'Reason that they are told', most: 123 },
    ],
    act: async ({ code, reason }) => {
      if (code !== '' && !/^\d{4}$/.test(code.trim())) throw new Error('The close code is 1000, or a number from 4100 to 4999.');
      const { clients, missing } = await call('POST', 'close', { to, ...(code && { code: Number(code) }), ...(reason && { reason }) });
      toast(`Closed ${many(clients, 'client')}${missing ? `; ${many(missing.length, 'gateway')} did not answer` : ''}.`);
    },
  });
}

function actions(to) {
  return el('div', { class: 'row' },
    to.client ? el('button', { type: 'button', class: 'plain', id: 'tap-client', onclick: () => tap(to.client) }, 'Tap') : null,
    el('button', { type: 'button', class: 'plain', id: to.client ? 'push-client' : 'push-found', onclick: () => push(to) }, to.client ? 'Push…' : `Push to this ${Object.keys(to)[0]}…`),
    el('button', { type: 'button', class: 'plain', id: to.client ? 'close-client' : 'close-found', onclick: () => close(to) }, to.client ? 'Close…' : 'Close them…'));
}

async function show(id) {
  by('client').hidden = false;
  const head = by('client-h');
  head.textContent = id;
  const pairs = by('info');
  try {
    const c = await call('GET', 'clients/' + encodeURIComponent(id));
    const open = c.open ?? {};
    const row = (k, v) => v === undefined || v === '' ? [] : [el('dt', {}, k), el('dd', {}, v)];
    const groups = (c.groups ?? []).map(g => el('button', { type: 'button', class: 'chip', onclick: () => find('group', g) }, visible(g)));
    pairs.replaceChildren(
      ...row('Connected', c.connected ? day(c.connected) : ''),
      ...row('uid', c.uid ? el('button', { type: 'button', class: 'chip', onclick: () => find('uid', c.uid) }, visible(c.uid)) : 'none'),
      ...row('Groups', groups.length ? el('span', { class: 'chips' }, ...groups) : 'none'),
      ...row('From', visible(open.remote ?? '')),
      ...row('Listener', visible([open.listener, open.protocol].filter(Boolean).join(', '))),
      ...row('Path', visible((open.path ?? '') + (open.query ? '?' + open.query : ''))),
      ...row('Session', c.session === undefined ? 'none' : el('pre', { tabindex: 0, 'aria-label': 'Session' }, visible(JSON.stringify(c.session, null, 1)).replaceAll('\\n', '\n'))));
    pairs.append(el('dt', { class: 'hide' }, 'Do'), el('dd', {}, actions({ client: id })));
  } catch (err) {
    pairs.replaceChildren(el('dt', {}, 'State'), el('dd', { class: 'bad' }, err.status === 404 ? 'It is not connected any more.' : err.message));
  }
  head.focus();
}

export async function find(of, text) {
  const mine = ++last, found = by('found');
  by('of').value = of;
  by('name').value = text;
  by('client').hidden = true;
  by('hits').replaceChildren();
  found.className = '';
  found.textContent = 'Searching…';
  try {
    if (of === 'client') {
      found.textContent = '';
      await show(text.trim());
      return;
    }
    const answer = await call('GET', `clients?${of}=${encodeURIComponent(text)}&limit=${shownAtMost}&fields=uid,groups,open`);
    if (mine !== last) return;
    const list = answer.clients ?? [];
    found.textContent = list.length === 0 ? `No client has the ${of} “${visible(text)}”.`.replace('has the group', 'is in the group')
      : `${answer.next ? 'The first ' : ''}${many(list.length, 'client')} of ${of} “${visible(text)}”.` + (answer.missing ? ` ${many(answer.missing.length, 'gateway')} did not answer.` : '');
    if (list.length === 0) return;
    by('hits').replaceChildren(
      el('ul', { class: 'hits', 'aria-label': 'Clients found' }, ...list.map(c => el('li', {},
        el('button', { type: 'button', class: 'hit', onclick: () => show(c.client) }, el('code', {}, visible(c.client)),
          ' ', el('span', { class: 'dim' }, visible([c.uid && `uid ${c.uid}`, c.open?.remote].filter(Boolean).join(' · '))))))),
      actions({ [of]: text }));
  } catch (err) {
    if (mine !== last) return;
    found.className = 'bad';
    found.textContent = err.message;
  }
}

by('search').addEventListener('submit', e => { e.preventDefault(); find(by('of').value, by('name').value); });
by('push-all').addEventListener('click', () => push({ all: true }));
