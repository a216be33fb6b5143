/** How this page talks to its server: one chat of one Channel, with the token of whoever opened it. */

// The token comes once in the fragment, which no server sees, and is kept for this origin only.
const fragment = new URLSearchParams(location.hash.slice(1));
if (fragment.has('token')) {
  localStorage.setItem('dovecote-token', fragment.get('token'));
  history.replaceState(null, '', location.pathname);
}
const token = localStorage.getItem('dovecote-token') ?? '';

const chatOfAddress = () => {
  try {
    return decodeURIComponent(location.pathname.split('/')[2] ?? '');
  } catch {
    return ''; // a broken escape
  }
};
/** Empty: the page is on its way to a conversation of its own. */
export const chat = chatOfAddress();
if (chat === '') location.replace(`/chat/${crypto.randomUUID().slice(0, 8)}`);

const base = `/api/channels/${encodeURIComponent(document.body.dataset.channel)}/chats/${encodeURIComponent(chat)}`;
const authorization = { authorization: `Bearer ${token}` };

/** Throws an Error with the server's own sentence, `status` beside it. */
export async function request(path, { body, ...init } = {}) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { ...authorization, 'content-type': 'application/json' } };
  const response = await fetch(`${base}${path}`, { headers: authorization, ...json, ...init });
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw Object.assign(new Error(answer.message ?? `the server answered ${response.status}`), { status: response.status });
}

/** Sends a file ahead of its message; fetch would not tell how far it is. Rejects as `request`, or when `signal` aborts. */
export function upload(file, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open('PUT', `${base}/uploads?name=${encodeURIComponent(file.name)}&type=${encodeURIComponent(file.type)}`);
    call.setRequestHeader('authorization', authorization.authorization);
    call.setRequestHeader('content-type', 'application/octet-stream');
    call.responseType = 'json';
    call.upload.addEventListener('progress', ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0));
    call.addEventListener('load', () => {
      if (call.status === 200) resolve(call.response.staged);
      else reject(new Error(call.response?.message ?? `the server answered ${call.status}`));
    });
    call.addEventListener('error', () => reject(new Error('the connection broke')));
    signal.addEventListener('abort', () => {
      call.abort();
      reject(signal.reason);
    });
    call.send(file);
  });
}

/** Events of the chat behind `after`, until the connection ends. `onOpen` is called when the server has answered. */
export async function* events(after, onOpen) {
  const response = await request(`/events?after=${encodeURIComponent(after)}`);
  onOpen();
  let buffer = '';
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    buffer += value;
    for (let end = buffer.indexOf('\n\n'); end >= 0; end = buffer.indexOf('\n\n')) {
      const fields = buffer
        .slice(0, end)
        .split('\n')
        .filter((line) => !line.startsWith(':') && line.includes(': '))
        .map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]);
      buffer = buffer.slice(end + 2);
      const { id, event, data } = Object.fromEntries(fields);
      if (data !== undefined) yield { id, event, data: JSON.parse(data) };
    }
  }
}
