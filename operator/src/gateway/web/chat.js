/** The web chat: follows one conversation of the shard's own ledger, and sends into it. It keeps nothing but the list of conversations. */
import { chat, events } from './api.js';
import { startComposer } from './composer.js';
import { dropPartials, isWriting, jumpToLatest, show, showPartial } from './conversation.js';
import { el } from './markdown.js';

const $ = (id) => document.getElementById(id);
/** A connection that was lost for less than this is not worth a word. */
const QUIET_MS = 1_500;

function activity({ state, detail, queuePosition } = { state: 'Idle' }) {
  const words = {
    Queued: [`Waiting for a free place${queuePosition ? ` (position ${queuePosition})` : ''}…`],
    Waking: ['Waking up…'],
    Thinking: [isWriting() ? 'Writing…' : 'Thinking…'],
    Tool: detail === 'ask_user_question' ? ['Waiting for your answer…'] : ['using ', el('code', detail ?? ''), '…'],
  }[state];
  $('activity').classList.remove('lost');
  $('activity').dataset.state = state;
  if (words === undefined) {
    $('activity').replaceChildren();
    return;
  }
  const dots = el('span', el('i'), el('i'), el('i'));
  dots.className = 'dots';
  dots.setAttribute('aria-hidden', 'true');
  $('activity').replaceChildren(dots, el('span', ...words));
}

/** The stream: fetch, not EventSource, because the token goes in a header. Resumes behind the last event that was seen. */
async function follow() {
  let after = '';
  let last = { state: 'Idle' };
  for (let wait = 250, lostAt = 0; ; wait = Math.min(wait * 2, 5_000)) {
    let reason = 'the server ended the connection';
    try {
      const opened = () => {
        wait = 250;
        lostAt = 0;
        dropPartials();
        activity();
      };
      for await (const { id, event, data } of events(after, opened)) {
        if (id !== undefined) after = id;
        if (event === 'message') show(data);
        // A conversation that another browser began is called by its first words here too.
        if (event === 'message' && data.direction === 'in' && !isKnown()) remember(JSON.parse(data.content).text || 'Conversation');
        if (event === 'activity') last = data;
        if (event === 'partial') showPartial(data);
        if (event !== 'message') activity(last);
      }
    } catch (error) {
      reason = error.message;
      if (error.status === 401 || error.status === 403) wait = 5_000;
    }
    lostAt ||= Date.now();
    if (Date.now() - lostAt > QUIET_MS || wait >= 5_000) {
      $('activity').classList.add('lost');
      $('activity').textContent = `Not connected: ${reason}. Trying again…`;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** Conversations that this browser began, newest first. */
const known = (() => {
  try {
    const list = JSON.parse(localStorage.getItem('dovecote-chats') ?? '[]');
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
})();

const isKnown = () => known.some(({ id }) => id === chat);

function remember(text) {
  if (!isKnown()) known.unshift({ id: chat, title: text.slice(0, 60) });
  localStorage.setItem('dovecote-chats', JSON.stringify(known.slice(0, 50)));
  list();
}

function list() {
  $('chats').replaceChildren(
    ...known.map(({ id, title }) => {
      const entry = Object.assign(el('a', title || id), { href: `/chat/${encodeURIComponent(id)}` });
      if (id === chat) entry.setAttribute('aria-current', 'page');
      return entry;
    }),
  );
  const title = known.find(({ id }) => id === chat)?.title ?? 'New conversation';
  $('title').textContent = title;
  document.title = title === 'New conversation' ? 'Dovecote' : `${title} · Dovecote`;
}

function openMenu(open) {
  document.body.classList.toggle('nav-open', open);
  $('menu').setAttribute('aria-expanded', String(open));
}

$('menu').addEventListener('click', (event) => {
  event.stopPropagation();
  openMenu(!document.body.classList.contains('nav-open'));
});
document.addEventListener('click', (event) => {
  if (!$('nav').contains(event.target)) openMenu(false);
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') openMenu(false);
});
$('latest').addEventListener('click', jumpToLatest);
list();
if (chat !== '') {
  startComposer(remember);
  $('text').focus();
  follow();
}
