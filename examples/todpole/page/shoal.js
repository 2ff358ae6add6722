// The other tadpoles: where they were, and so where they are shown.
//
// Each says up to 20 times a second where it is, by its own clock. It is shown a
// little in the past, between two places that it has told, so it swims smoothly
// even if news come in bursts; and its own clock says when it was where, so late
// news do no harm.

import { Tadpole } from './tadpole.js';

const delay = 140; // milliseconds that others are shown in the past
const ahead = 250; // milliseconds that one swims on without news
const silence = 9_000, sleepingSilence = 120_000; // then it is gone, goodbye or not

export class Shoal {
  tadpoles = new Map(); // by id
  #heard = new Set(); // what was said, of late

  // met notes a tadpole, and tells whether it is new.
  met({ id, name, hue }) {
    let other = this.tadpoles.get(id);
    const isNew = !other;
    if (isNew) {
      other = new Tadpole(name, hue);
      Object.assign(other, { id, places: [], lag: Infinity, seen: performance.now(), asleep: false });
      this.tadpoles.set(id, other);
    }
    other.name = String(name);
    other.hue = Number(hue) || 0;
    other.seen = performance.now();
    return isNew;
  }

  moved(news) {
    const other = this.tadpoles.get(news.id), now = performance.now();
    const last = other.places.at(-1);
    if (last && news.at <= last.at) return; // it has been overtaken, or came twice
    // The fastest news tell how the two clocks stand; slowly forgotten, as clocks drift.
    other.lag = Math.min(other.lag + 0.05, now - news.at);
    other.asleep = Boolean(news.asleep);
    if (!last) {
      other.appear(news.x, news.y, news.a);
    } else if (news.at - last.at > 400) {
      // It has rested; it was there until just now.
      other.places.push({ ...last, at: news.at - 60 });
    }
    other.places.push({ x: news.x, y: news.y, a: news.a, at: news.at });
    if (other.places.length > 40) other.places.shift();
  }

  // said notes what one says, and tells whether it is news.
  said({ id, n, text }) {
    const what = `${id} ${n}`;
    if (this.#heard.has(what)) return false;
    this.#heard.add(what);
    if (this.#heard.size > 200) this.#heard.delete(this.#heard.values().next().value);
    this.tadpoles.get(id).say(String(text));
    return true;
  }

  left(id) {
    this.tadpoles.delete(id);
  }

  // emptied forgets all: after a new connection, who is there will say so.
  emptied() {
    this.tadpoles.clear();
  }

  // swim moves all to where they are shown now, and drops those that have not been
  // heard for long: a gateway that is killed cannot say goodbye for them.
  swim(seconds, calm) {
    const now = performance.now();
    for (const [id, t] of this.tadpoles) {
      if (now - t.seen > (t.asleep ? sleepingSilence : silence)) { this.left(id); continue; }
      if (t.places.length === 0) continue;
      const place = between(t.places, now - t.lag - delay);
      t.follow(place.x, place.y, place.a, seconds, calm);
    }
  }

  // shown are those whose place is known.
  *shown() {
    for (const t of this.tadpoles.values()) if (t.places.length > 0) yield t;
  }
}

// between is the place at a time of the sender's clock.
function between(places, at) {
  while (places.length > 2 && places[1].at <= at) places.shift();
  const [a, b] = places;
  if (!b || at <= a.at) return a;
  const part = Math.min((at - a.at) / (b.at - a.at), 1 + ahead / Math.max(b.at - a.at, 50));
  // Beyond the last place it swims on for a little, slower and slower.
  const p = part <= 1 ? part : 1 + (part - 1) / (1 + (part - 1));
  return { x: a.x + (b.x - a.x) * p, y: a.y + (b.y - a.y) * p, a: a.a + turn(a.a, b.a) * Math.min(p, 1) };
}

// turn is the short way from one angle to another.
export function turn(from, to) {
  const d = (to - from) % (2 * Math.PI);
  return d > Math.PI ? d - 2 * Math.PI : d < -Math.PI ? d + 2 * Math.PI : d;
}
