/** The rows of a conversation as elements: one for each message, changed by the edits, reactions and answers that follow it. */
import { request } from './api.js';
import { fileView } from './files.js';
import { el, link, markdown } from './markdown.js';

const log = document.getElementById('log');
const latest = document.getElementById('latest');
/** The end of a turn is told before its answer is there: so long the text stays, or it would blink. */
const LINGER_MS = 600;

/** By session and seq: a row that comes again after a new connection changes nothing. */
const rows = new Map();
const byPlatformId = new Map();
/** What this page sent and has not seen come back, by the id that it chose. */
const sending = new Map();
/** Answers to questions, by the question's session and seq. */
const choices = new Map();
/** The text that grows, by session. */
const partials = new Map();

const div = (className, ...children) => Object.assign(el('div', ...children), { className });

const endInView = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
/** As it was when somebody scrolled last, or the log changed. */
let pinned = true;

/** Changes the log and keeps its end in view, unless somebody reads further up. */
function changing(change) {
  pinned = endInView();
  const result = change();
  if (pinned) log.scrollTop = log.scrollHeight;
  latest.hidden = pinned;
  return result;
}

export function jumpToLatest() {
  log.scrollTop = log.scrollHeight;
  latest.hidden = true;
}
log.addEventListener('scroll', () => {
  pinned = endInView();
  if (pinned) latest.hidden = true;
});
// Files and lines that wait to be sent take their room from the log.
new ResizeObserver(() => {
  if (pinned) log.scrollTop = log.scrollHeight;
}).observe(log);

export function show(message) {
  changing(() => place(message, contentOf(message)));
}

function contentOf(message) {
  try {
    return JSON.parse(message.content);
  } catch {
    return { text: '' };
  }
}

function place(message, content) {
  const target = rows.get(`${message.session}/${content.target}`) ?? byPlatformId.get(message.targetMessageId);
  if (message.kind === 'edit') return edit(target, content);
  if (message.kind === 'reaction') return react(target, content);
  if (content.answer) answered(message, content.answer);
  const key = `${message.session}/${message.seq}`;
  if (rows.has(key)) return;
  const row = div(classOf(message), ...viewOf(message, content));
  if (message.createdAtMs > 0) row.title = new Date(message.createdAtMs).toLocaleString();
  rows.set(key, row);
  if (message.platformMessageId) byPlatformId.set(message.platformMessageId, row);
  if (choices.has(key)) markChoice(row, choices.get(key));
  const mine = sending.get(message.eventId.split('/').at(-1));
  if (mine !== undefined) {
    sending.delete(message.eventId.split('/').at(-1));
    mine.why?.remove();
    mine.row.replaceWith(row);
    return;
  }
  const partial = message.direction === 'out' && message.kind === 'chat' ? partials.get(message.session) : undefined;
  if (partial === undefined) append(row);
  else {
    // The answer takes the place of the text that grew.
    clearTimeout(partial.ending);
    partials.delete(message.session);
    partial.row.replaceWith(row);
  }
}

/** What grows stays last: a file that was sent before it may arrive while it grows. */
function append(row) {
  const growing = log.querySelector('.m.partial');
  if (growing === null) log.append(row);
  else growing.before(row);
}

function classOf({ direction, kind, state }) {
  if (kind === 'notice' || (direction === 'in' && kind !== 'chat')) return 'm note';
  return `m ${direction}${kind === 'card' || kind === 'question' ? ' card' : ''}${state === 'dead' ? ' dead' : ''}`;
}

function viewOf(message, content) {
  const { session, seq, kind, direction } = message;
  if (direction === 'in') {
    const files = (content.attachments ?? []).flatMap((file, n) => fileView(file, `${encodeURIComponent(session)}/${seq}/${n}`, note));
    const refused = (content.attachmentErrors ?? []).map((sentence) => div('edited', sentence));
    return [...(content.text ? [div('text', content.text)] : []), ...files, ...refused];
  }
  switch (kind) {
    case 'file':
      return [...textOf(content.text), ...fileView(content, `${encodeURIComponent(session)}/${seq}`, note)];
    case 'card':
      return cardOf(content);
    case 'question':
      return questionOf(message, content);
    default:
      return textOf(content.text ?? content.fallback ?? '');
  }
}

function textOf(text) {
  return text ? [div('text', ...markdown(text))] : [];
}

function cardOf({ title, text, fields = [], links = [] }) {
  const list = el('dl', ...fields.flatMap(({ label, value }) => [el('dt', label), el('dd', value)]));
  const addresses = links.filter(({ url }) => /^(https?:\/\/|mailto:)/i.test(url)).map(({ label, url }) => link(url, label));
  return [
    el('h2', title),
    ...textOf(text),
    ...(fields.length > 0 ? [list] : []),
    ...(addresses.length > 0 ? [div('links', ...addresses)] : []),
  ];
}

function questionOf({ session, seq }, { title, text, options }) {
  const group = div('options');
  group.setAttribute('role', 'group');
  group.setAttribute('aria-label', title || 'Choices');
  for (const [option, { label }] of options.entries()) {
    const button = Object.assign(el('button', label), { type: 'button' });
    button.addEventListener('click', () => choose(group, button, { session, seq, option }));
    group.append(button);
  }
  return [...(title ? [el('h2', title)] : []), ...textOf(text), group];
}

async function choose(group, button, choice) {
  const buttons = [...group.children];
  for (const each of buttons) each.disabled = true;
  button.setAttribute('aria-busy', 'true');
  try {
    // What was chosen is shown by the message that follows: another's press may have come first.
    const answer = await (await request('/answers', { method: 'POST', body: { ...choice, id: crypto.randomUUID() } })).json();
    for (const reason of answer.refused ?? []) note(reason);
    if (answer.outcome === 'already-answered') note(`Already answered by ${answer.answeredBy}: ${answer.label}`);
    if (answer.outcome === 'refused') for (const each of buttons) each.disabled = false;
  } catch (error) {
    for (const each of buttons) each.disabled = false;
    note(`Your choice was not taken: ${error.message}. You can try again.`);
  }
  button.removeAttribute('aria-busy');
}

function answered({ session, senderName }, { questionSeq, label }) {
  const key = `${session}/${questionSeq}`;
  choices.set(key, { label, who: senderName || 'Somebody' });
  const question = rows.get(key);
  if (question !== undefined) markChoice(question, choices.get(key));
}

function markChoice(question, { label, who }) {
  for (const button of question.querySelectorAll('.options button')) {
    button.disabled = true;
    button.setAttribute('aria-pressed', String(button.textContent === label));
  }
  if (!question.querySelector('.answered')) question.append(div('answered', `${who} chose “${label}”`));
}

function edit(target, { text }) {
  if (target === undefined) return;
  const now = div('text', ...markdown(text));
  const before = target.querySelector('.text');
  if (before) before.replaceWith(now);
  else target.prepend(now);
  if (!target.querySelector('.edited')) target.append(div('edited', 'edited'));
}

function react(target, { emoji }) {
  if (target === undefined) return;
  const known = target.querySelector('.reactions');
  const reactions = known ?? div('reactions');
  if ([...reactions.children].some(({ textContent }) => textContent === emoji)) return;
  reactions.append(el('span', emoji));
  if (!known) target.append(reactions);
}

/** The answer as far as it is written; empty: it is no more. */
export function showPartial({ session, text }) {
  changing(() => {
    const known = partials.get(session);
    if (text === '') {
      if (known === undefined || known.ending !== undefined) return;
      known.ending = setTimeout(() => dropPartial(session), LINGER_MS);
      return;
    }
    const partial = known ?? { row: div('m out partial') };
    clearTimeout(partial.ending);
    partial.ending = undefined;
    partial.row.replaceChildren(...textOf(text));
    partial.row.setAttribute('aria-live', 'off'); // the whole answer is read out once, when it is there
    partials.set(session, partial);
    if (known === undefined) log.append(partial.row);
  });
}

function dropPartial(session) {
  partials.get(session)?.row.remove();
  partials.delete(session);
}

/** After a new connection: what was being written then is told anew, or is over. */
export function dropPartials() {
  for (const session of [...partials.keys()]) dropPartial(session);
}

export const isWriting = () => partials.size > 0;

export function note(text) {
  changing(() => append(div('m note', text)));
}

/** A message on its way. `files`: what goes with it. */
export function showSending(id, text, files) {
  const names = files.map(({ name }) => div('file', `📄 ${name}`));
  const row = div('m in sending', ...(text === '' ? [] : [div('text', text)]), ...names);
  sending.set(id, { row });
  append(row);
  jumpToLatest();
}

/** It did not get through; `again` sends it once more. */
export function showFailed(id, sentence, again) {
  const mine = sending.get(id);
  if (mine === undefined) return; // it has come back meanwhile
  const button = Object.assign(el('button', 'Try again'), { type: 'button' });
  mine.row.classList.replace('sending', 'dead');
  mine.why = div('why', `Not sent: ${sentence}`, button);
  mine.row.after(mine.why);
  button.addEventListener('click', () => {
    mine.why.remove();
    mine.row.classList.replace('dead', 'sending');
    again();
  });
}

/** The server took it, but nobody hears it: it will not come back as a row. */
export function showUnheard(id) {
  sending.get(id)?.row.classList.replace('sending', 'dead');
}
