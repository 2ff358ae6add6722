// Requests to this process, with the token if there is one; and server-sent events over
// fetch, since an EventSource cannot send a token.

const key = 'gatebus-token';
export const token = {
  get: () => sessionStorage.getItem(key),
  set: t => sessionStorage.setItem(key, t),
  clear: () => sessionStorage.removeItem(key),
};

export class Problem extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  if (token.get()) headers.set('Authorization', 'Bearer ' + token.get());
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'omit', redirect: 'error' });
  } catch (err) {
    if (options.signal?.aborted) throw err;
    throw new Problem(0, 'this process does not answer');
  }
  if (answer.ok) return answer;
  let detail = `${answer.status} ${answer.statusText}`;
  try {
    const p = await answer.json();
    detail = p.detail || p.title || detail;
  } catch { /* it is no JSON: the status says it */ }
  throw new Problem(answer.status, detail);
}

// call asks the HTTP API.
export async function call(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { 'Content-Type': 'application/json' };
  }
  const answer = await send('/api/v1/' + path, options);
  return answer.status === 204 ? {} : answer.json();
}

// follow calls told(event, data) for each event of a stream, until it ends. It throws
// what is wrong.
export async function follow(path, signal, told) {
  const answer = await send('data/' + path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    for (let end; (end = rest.indexOf('\n\n')) >= 0; rest = rest.slice(end + 2)) {
      let event = 'message', data = '';
      for (const line of rest.slice(0, end).split('\n')) {
        if (line.startsWith('event: ')) event = line.slice(7);
        else if (line.startsWith('data: ')) data += line.slice(6);
      }
      if (data !== '') told(event, JSON.parse(data));
    }
  }
}
