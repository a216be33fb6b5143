/** The field in which messages are written, and the files that go with them. */
import { request, upload } from './api.js';
import { note, showFailed, showSending, showUnheard } from './conversation.js';
import { sizeOf } from './files.js';
import { el } from './markdown.js';

const $ = (id) => document.getElementById(id);
const maxFileBytes = Number(document.body.dataset.maxFileBytes);
const TRIES = 6;
/** Files on their way, or there. */
const attached = new Set();

/** `onSent` gets the text of each message that is sent. */
export function startComposer(onSent) {
  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    submit(onSent);
  });
  $('text').addEventListener('input', refresh);
  $('text').addEventListener('keydown', (event) => {
    // On a touch keyboard Enter is a new line, as everywhere else there.
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || matchMedia('(pointer: coarse)').matches) return;
    event.preventDefault();
    $('form').requestSubmit();
  });
  $('attach').addEventListener('click', () => $('picker').click());
  $('picker').addEventListener('change', () => {
    attach($('picker').files);
    $('picker').value = ''; // the same file may be chosen again
  });
  $('text').addEventListener('paste', (event) => {
    if (event.clipboardData.files.length === 0) return;
    event.preventDefault();
    attach(event.clipboardData.files);
  });
  startDropping();
  refresh();
}

function startDropping() {
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files') === true;
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    $('drop').hidden = false;
  });
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) $('drop').hidden = true;
  });
  addEventListener('drop', (event) => {
    $('drop').hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    attach(event.dataTransfer.files);
  });
}

function attach(files) {
  for (const file of files) begin(file);
  $('text').focus();
}

function begin(file) {
  const gone = new AbortController();
  const remove = Object.assign(el('button', '✕'), { type: 'button' });
  remove.setAttribute('aria-label', `Remove ${file.name}`);
  const size = el('small', sizeOf(file.size));
  const name = Object.assign(el('span', file.name), { className: 'name' });
  const row = el('li', name, size, remove);
  const entry = { name: file.name, mimeType: file.type || 'application/octet-stream', sizeBytes: file.size, staged: undefined, row };
  const fail = (sentence) => {
    row.classList.add('failed');
    size.remove();
    name.textContent = sentence;
    attached.delete(entry);
    refresh();
  };
  remove.addEventListener('click', () => {
    gone.abort(new Error('removed'));
    attached.delete(entry);
    row.remove();
    refresh();
  });
  $('files').append(row);
  if (file.size > maxFileBytes) {
    fail(`${file.name} has ${sizeOf(file.size)}; this chat takes files of up to ${sizeOf(maxFileBytes)}`);
    return;
  }
  attached.add(entry);
  refresh();
  upload(file, (part) => row.style.setProperty('--done', `${Math.round(part * 100)}%`), gone.signal).then(
    (staged) => {
      entry.staged = staged;
      row.style.setProperty('--done', '0%');
      refresh();
    },
    (error) => {
      if (!gone.signal.aborted) fail(error.message.includes(file.name) ? error.message : `${file.name} was not taken: ${error.message}`);
    },
  );
}

function refresh() {
  const waiting = [...attached].some(({ staged }) => staged === undefined);
  $('send').disabled = waiting || ($('text').value.trim() === '' && attached.size === 0);
  $('text').style.height = 'auto';
  $('text').style.height = `${$('text').scrollHeight}px`;
}

function submit(onSent) {
  const text = $('text').value.trim();
  if ($('send').disabled) return;
  const files = [...attached].map(({ name, mimeType, sizeBytes, staged }) => ({ name, mimeType, sizeBytes, staged }));
  $('text').value = '';
  attached.clear();
  $('files').replaceChildren();
  refresh();
  onSent(text === '' ? (files[0]?.name ?? '') : text);
  const id = crypto.randomUUID();
  showSending(id, text, files);
  send({ id, text, files });
}

/** The id makes sending again harmless: the same message is stored once. */
async function send(message) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { refused = [] } = await (await request('/messages', { method: 'POST', body: message })).json();
      for (const reason of refused) note(reason);
      if (refused.length > 0) showUnheard(message.id);
      return;
    } catch (error) {
      // What the server refused it will refuse again; all else may pass.
      const final = error.status !== undefined && error.status < 500 && error.status !== 429;
      if (final || attempt === TRIES) {
        showFailed(message.id, error.message, () => send(message));
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 300 * 2 ** attempt));
    }
  }
}
