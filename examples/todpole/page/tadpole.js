// One tadpole: its spine, which follows its head, and how it is drawn.

const joints = 12, bone = 5.2; // of the spine, in units of the pond
const talk = 6_000; // milliseconds a bubble is shown, and 45 more for each character
const label = '600 13px system-ui, sans-serif', speech = '15px system-ui, sans-serif';

export class Tadpole {
  id = '';
  x = 0; y = 0; a = 0;
  speed = 0;
  bubble = null; // { text, lines, width, since, until }
  #spine = [];
  #phase = Math.random() * 7;
  #wag = 0;
  #blink = 2 + Math.random() * 4;
  #tag = null; // the name, drawn once
  #coat = null; // what depends on the hue
  #age = 0;

  constructor(name, hue) {
    this.name = name;
    this.hue = hue;
  }

  // appear puts it somewhere at once.
  appear(x, y, a) {
    Object.assign(this, { x, y, a });
    this.#spine = Array.from({ length: joints }, (_, i) => ({
      x: x - Math.cos(a) * bone * i, y: y - Math.sin(a) * bone * i,
    }));
  }

  // follow moves the head, and what hangs on it.
  follow(x, y, a, seconds, calm) {
    const way = Math.hypot(x - this.x, y - this.y);
    if (way > 300) this.appear(x, y, a); // it was away
    this.speed += ((seconds > 0 ? way / seconds : 0) - this.speed) * Math.min(1, seconds * 8);
    Object.assign(this, { x, y, a });
    this.#age += seconds;
    // The faster it swims the faster it wags; at rest the tail only plays.
    const hurry = Math.min(this.speed / 220, 1.2);
    this.#wag += ((calm ? 0.12 : 0.32 + hurry * 0.75) - this.#wag) * Math.min(1, seconds * 6);
    this.#phase += seconds * (calm ? 1 + 4 * hurry : 2.4 + 15 * hurry);
    this.#blink -= seconds;
    if (this.#blink < -0.14) this.#blink = 2.5 + Math.random() * 5;

    const s = this.#spine;
    s[0].x = x; s[0].y = y;
    let ahead = a;
    for (let i = 1; i < s.length; i++) {
      // A joint trails the one before, and can bend only so far from it.
      let to = Math.atan2(s[i - 1].y - s[i].y, s[i - 1].x - s[i].x);
      const bend = Math.atan2(Math.sin(to - ahead), Math.cos(to - ahead));
      const most = i === 1 ? 0.16 : 0.42;
      to = ahead + Math.max(-most, Math.min(most, bend)) * (1 - Math.min(0.5, 0.8 * seconds)); // and straightens out
      s[i].x = s[i - 1].x - Math.cos(to) * bone;
      s[i].y = s[i - 1].y - Math.sin(to) * bone;
      ahead = to;
    }
  }

  say(text) {
    this.bubble = { text, ...wrap(text, 210), since: performance.now(), until: performance.now() + talk + 45 * text.length };
  }

  get tip() { return this.#spine.at(-1); }

  draw(c, own) {
    if (this.#spine.length === 0) return;
    const coat = this.#coat?.hue === this.hue ? this.#coat : (this.#coat = coatOf(this.hue));
    const grown = Math.min(1, 0.2 + this.#age * 2.2), pop = grown * (2 - grown); // it grows in
    const { left, right, core } = this.#outline(pop);

    // A shadow on the ground, as far below as the water is deep.
    c.save();
    c.translate(9, 15);
    c.fillStyle = 'rgb(0 26 38 / .2)';
    fin(c, left, right);
    c.fill();
    c.beginPath();
    c.ellipse(this.x, this.y, 15 * pop, 11 * pop, this.a, 0, 7);
    c.fill();
    c.restore();

    if (own) { // a light around the own one, so that it is found among many
      c.drawImage(glow(), this.x - 44, this.y - 44, 88, 88);
    }

    c.fillStyle = coat.fin;
    fin(c, left, right);
    c.fill();
    c.fillStyle = coat.spine;
    fin(c, core.left, core.right);
    c.fill();

    c.save();
    c.translate(this.x, this.y);
    c.rotate(this.a);
    c.scale(pop, pop);
    c.drawImage(coat.head, -24, -24, 48, 48);
    const open = this.asleep ? 0.12 : this.#blink < 0 ? 0.15 : 1;
    for (const side of [-1, 1]) {
      c.fillStyle = '#fdfdf4';
      c.beginPath();
      c.ellipse(6.6, side * 6.4, 3.9, 3.9 * open, 0, 0, 7);
      c.fill();
      c.fillStyle = '#12222b';
      c.beginPath();
      c.ellipse(8, side * 6.2, 2.2, 2.3 * open, 0, 0, 7);
      c.fill();
      if (open === 1) {
        c.fillStyle = '#fff';
        c.fillRect(8.1, side * 6.2 - 1.5, 1.2, 1.2);
      }
    }
    c.restore();
  }

  // outline is the tail with its wave: left and right edge, and those of its core,
  // which gets thinner towards the tip.
  #outline(size) {
    const s = this.#spine, left = [], right = [], core = { left: [], right: [] };
    for (let i = 0; i < s.length; i++) {
      const f = i / (s.length - 1), before = s[Math.max(0, i - 1)], after = s[Math.min(s.length - 1, i + 1)];
      const length = Math.hypot(before.x - after.x, before.y - after.y) || 1;
      const nx = -(before.y - after.y) / length, ny = (before.x - after.x) / length;
      const wave = Math.sin(this.#phase - f * 5.2) * this.#wag * 11 * f ** 1.3 * size;
      const wide = (i === 0 ? 5 : 3.2 + 5.4 * Math.sin(Math.PI * Math.min(1, 0.2 + f * 0.86)) * (1 - f * 0.55)) * size * (f === 1 ? 0.05 : 1);
      const x = this.x + (s[i].x - this.x) * size + nx * wave, y = this.y + (s[i].y - this.y) * size + ny * wave;
      left.push({ x: x + nx * wide, y: y + ny * wide });
      right.push({ x: x - nx * wide, y: y - ny * wide });
      const thick = (4.4 * (1 - f) ** 1.15 + 0.4) * size;
      core.left.push({ x: x + nx * thick, y: y + ny * thick });
      core.right.push({ x: x - nx * thick, y: y - ny * thick });
    }
    return { left, right, core };
  }

  // drawName and drawBubble draw in the pixels of the window, above all tadpoles.
  drawName(c, x, y, scale, own) {
    if (this.#tag?.key !== this.name + own) this.#tag = tagOf(this.name, own);
    c.drawImage(this.#tag.image, Math.round(x - this.#tag.width / 2), Math.round(y + 22 * scale), this.#tag.width, this.#tag.height);
    if (!this.asleep) return;
    c.font = 'italic 700 14px system-ui, sans-serif';
    c.fillStyle = '#fff';
    const t = performance.now() / 1400;
    for (let i = 0; i < 3; i++) {
      const f = (t + i / 3) % 1;
      c.globalAlpha = Math.sin(Math.PI * f) * 0.9;
      c.fillText('z', x + 12 + 14 * f, y - 14 - 26 * f);
    }
    c.globalAlpha = 1;
  }

  drawBubble(c, x, y, scale, width, calm) {
    const b = this.bubble, now = performance.now();
    if (!b) return;
    if (now > b.until) { this.bubble = null; return; }
    const born = calm ? 1 : Math.min(1, (now - b.since) / 180), fade = Math.min(1, (b.until - now) / 500);
    const w = b.width + 26, h = b.lines.length * 20 + 16;
    const left = Math.max(8, Math.min(width - w - 8, x - w / 2));
    const below = y - 26 * scale - h - 10 < 64; // the head of the page is there
    const top = below ? y + 52 * scale : y - 26 * scale - h - 10;
    const point = Math.max(left + 18, Math.min(left + w - 18, x)), edge = below ? top : top + h, out = below ? -9 : 9;
    c.save();
    c.globalAlpha = fade;
    c.translate(point, edge + out);
    c.scale(0.7 + 0.3 * born * (2 - born), 0.7 + 0.3 * born * (2 - born));
    c.translate(-point, -edge - out);
    c.fillStyle = 'rgb(0 22 34 / .25)';
    c.beginPath();
    c.roundRect(left + 1, top + 4, w, h, 15);
    c.fill();
    c.fillStyle = '#fbfff9';
    c.beginPath();
    c.roundRect(left, top, w, h, 15);
    c.moveTo(point - 8, edge);
    c.lineTo(point, edge + out);
    c.lineTo(point + 8, edge);
    c.closePath();
    c.fill('nonzero');
    c.font = speech;
    c.fillStyle = '#10242c';
    c.textBaseline = 'middle';
    b.lines.forEach((line, i) => c.fillText(line, left + 13, top + 18.5 + 20 * i));
    c.restore();
  }
}

function fin(c, left, right) {
  c.beginPath();
  c.moveTo(left[0].x, left[0].y);
  const bend = (from, to) => c.quadraticCurveTo(from.x, from.y, (from.x + to.x) / 2, (from.y + to.y) / 2);
  for (let i = 1; i < left.length; i++) bend(left[i - 1], left[i]);
  c.lineTo(left.at(-1).x, left.at(-1).y);
  for (let i = right.length - 1; i > 0; i--) bend(right[i], right[i - 1]);
  c.lineTo(right[0].x, right[0].y);
  c.closePath();
}

const coats = new Map();

// coatOf has what is the same for all tadpoles of a hue.
function coatOf(hue) {
  if (coats.has(hue)) return coats.get(hue);
  const head = picture(96, 96, c => {
    c.scale(2, 2);
    c.translate(24, 24);
    // An egg, blunt in front.
    const body = new Path2D();
    body.moveTo(16, 0);
    body.bezierCurveTo(16, 8.5, 8.5, 12.5, 0, 11.8);
    body.bezierCurveTo(-8, 11, -15, 5.5, -18, 0);
    body.bezierCurveTo(-15, -5.5, -8, -11, 0, -11.8);
    body.bezierCurveTo(8.5, -12.5, 16, -8.5, 16, 0);
    const g = c.createRadialGradient(3, -4, 1, -1, 0, 19);
    g.addColorStop(0, `hsl(${hue} 80% 76%)`);
    g.addColorStop(0.5, `hsl(${hue} 66% 56%)`);
    g.addColorStop(1, `hsl(${hue + 14} 62% 34%)`);
    c.fillStyle = g;
    c.fill(body);
    c.clip(body);
    c.fillStyle = `hsl(${hue + 16} 60% 30% / .4)`; // freckles
    for (const [x, y, r] of [[-5, -4, 2], [-9, 2, 1.6], [-2, 5, 1.5], [-4.5, 0.5, 1.1], [1, -7, 1.3], [-11, -2, 1.2]]) {
      c.beginPath();
      c.arc(x, y, r, 0, 7);
      c.fill();
    }
    c.fillStyle = 'rgb(255 255 255 / .35)'; // wet
    c.beginPath();
    c.ellipse(1, -7, 6, 1.7, -0.15, 0, 7);
    c.fill();
  });
  const coat = { hue, head, fin: `hsl(${hue} 76% 70% / .58)`, spine: `hsl(${hue + 8} 62% 47%)` };
  coats.set(hue, coat);
  return coat;
}

let halo;

function glow() {
  return halo ??= picture(88, 88, c => {
    const g = c.createRadialGradient(44, 44, 12, 44, 44, 44);
    g.addColorStop(0, 'rgb(255 250 205 / .42)');
    g.addColorStop(0.55, 'rgb(255 250 205 / .15)');
    g.addColorStop(1, 'rgb(255 250 205 / 0)');
    c.fillStyle = g;
    c.fillRect(0, 0, 88, 88);
  });
}

// tagOf is a name on a dark ground, readable on any water.
function tagOf(name, own) {
  const sharp = 2, height = 21;
  const width = Math.ceil(measure(name, label)) + 16;
  const image = picture(width * sharp, height * sharp, c => {
    c.scale(sharp, sharp);
    c.fillStyle = own ? 'rgb(4 34 46 / .82)' : 'rgb(4 34 46 / .62)';
    c.beginPath();
    c.roundRect(0, 0, width, height, 10.5);
    c.fill();
    c.font = label;
    c.fillStyle = own ? '#fff6c9' : '#fff';
    c.textBaseline = 'middle';
    c.fillText(name, 8, height / 2 + 0.5);
  });
  return { key: name + own, image, width, height };
}

const ruler = document.createElement('canvas').getContext('2d');

function measure(text, font) {
  ruler.font = font;
  return ruler.measureText(text).width;
}

// wrap breaks a text into lines; a word that is too long is broken, too.
function wrap(text, most) {
  const lines = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line ? `${line} ${word}` : word;
    if (measure(longer, speech) <= most) { line = longer; continue; }
    if (line) lines.push(line);
    line = '';
    for (const letter of new Intl.Segmenter().segment(word)) {
      if (line && measure(line + letter.segment, speech) > most) { lines.push(line); line = ''; }
      line += letter.segment;
    }
  }
  lines.push(line);
  return { lines, width: Math.max(...lines.map(l => measure(l, speech))) };
}

// picture is something drawn once.
export function picture(width, height, draw) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  draw(canvas.getContext('2d'));
  return canvas;
}
