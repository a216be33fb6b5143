/** Markdown as elements: what an agent writes becomes text nodes and a few tags of ours, never HTML of its own. */

/** Quotes and lists inside each other; deeper ones are text. */
const MAX_DEPTH = 12;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}>\s?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+/;
const TABLE_LINE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
// What stands between two markers is bounded, or a text of many openers and no end would take the browser minutes.
const INLINE =
  /(`+)([^`](?:[\s\S]{0,999}?[^`])?)\1(?!`)|\*\*(?=\S)([\s\S]{0,999}?\S)\*\*|~~(?=\S)([\s\S]{0,999}?\S)~~|\*(?=[^\s*])([\s\S]{0,999}?[^\s*])\*(?!\*)|(?<!\w)_(?=[^\s_])([\s\S]{0,999}?[^\s_])_(?!\w)|!?\[([^\]\n]{0,999})\]\(((?:https?:\/\/|mailto:)[^)\s]{1,1999})\)|(https?:\/\/[^\s<>"']{0,1999}[^\s<>"'.,;:!?)\]])|\\([\\`*_{}[\]()#+.!|~>-])/g;

/**
 * @param {string} name
 * @param {...(Node | string)} children
 */
export function el(name, ...children) {
  const element = document.createElement(name);
  element.append(...children);
  return element;
}

/**
 * @param {string} text
 * @returns {Node[]}
 */
export function markdown(text) {
  return blocks(text.replaceAll('\r\n', '\n').split('\n'), 0);
}

function blocks(lines, depth) {
  const found = [];
  for (let at = 0; at < lines.length; ) {
    const [block, next] = blockAt(lines, at, depth);
    if (block !== undefined) found.push(block);
    at = next;
  }
  return found;
}

/** One block and the line behind it. */
function blockAt(lines, at, depth) {
  const line = lines[at];
  if (line.trim() === '') return [undefined, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return codeBlock(lines, at, fence[1], fence[2]);
  const heading = HEADING.exec(line);
  if (heading) return [el(`h${Math.min(6, heading[1].length + 2)}`, ...inline(heading[2])), at + 1];
  if (RULE.test(line)) return [el('hr'), at + 1];
  if (depth < MAX_DEPTH && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return list(lines, at, depth);
  if (startsTable(lines, at)) return table(lines, at);
  return paragraph(lines, at, depth);
}

function codeBlock(lines, at, marker, language) {
  let end = at + 1;
  const isClosing = (line) => line.trim().startsWith(marker) && /^[`~]+$/.test(line.trim());
  while (end < lines.length && !isClosing(lines[end])) end += 1;
  const code = el('code', lines.slice(at + 1, end).join('\n'));
  if (language !== '') code.dataset.language = language;
  const pre = el('pre', code);
  pre.tabIndex = 0; // wide code is scrolled by keyboard too
  return [pre, end + 1];
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ''));
  return [el('blockquote', ...blocks(inner, depth + 1)), end];
}

function list(lines, at, depth) {
  const [, , marker] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const element = el(ordered ? 'ol' : 'ul');
  if (ordered) element.start = Number.parseInt(marker, 10);
  let end = at;
  while (end < lines.length) {
    const start = ITEM.exec(lines[end]);
    if (!start || /\d/.test(start[2]) !== ordered) break;
    const indent = start[1].length;
    const body = [lines[end].slice(start[0].length)];
    for (end += 1; end < lines.length; end += 1) {
      const line = lines[end];
      const deeper = line.length - line.trimStart().length > indent;
      if (line.trim() === '' ? !isIndented(lines[end + 1], indent) : !deeper && (ITEM.test(line) || body.at(-1)?.trim() === '')) break;
      if (!deeper && line.trim() !== '' && startsBlock(line)) break;
      body.push(line.trim() === '' ? '' : line.slice(Math.min(line.length - line.trimStart().length, start[0].length)));
    }
    element.append(item(body, depth));
    if (lines[end]?.trim() === '' && ITEM.test(lines[end + 1] ?? '')) end += 1;
  }
  return [element, end];
}

function item(body, depth) {
  const task = /^\[([ xX])\]\s+/.exec(body[0] ?? '');
  if (task) body[0] = `${task[1] === ' ' ? '☐' : '☑'} ${body[0].slice(task[0].length)}`;
  const children = blocks(body, depth + 1);
  // A short item is its text, not a paragraph with a margin.
  return el('li', ...children.flatMap((child) => (child.nodeName === 'P' ? [...child.childNodes] : [child])));
}

const isIndented = (line, indent) => line !== undefined && line.trim() !== '' && line.length - line.trimStart().length > indent;
const startsBlock = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);

const startsTable = (lines, at) => lines[at].includes('|') && TABLE_LINE.test(lines[at + 1] ?? '') && lines[at + 1].includes('-');

function table(lines, at) {
  const cellsOf = (line) =>
    line
      .trim()
      .replace(/^\||\|$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll('\\|', '|'));
  const columns = cellsOf(lines[at]);
  const align = cellsOf(lines[at + 1]).map((cell) => (/^:-+:$/.test(cell) ? 'center' : /-:$/.test(cell) ? 'right' : 'left'));
  let end = at + 2;
  while (end < lines.length && lines[end].includes('|')) end += 1;
  const row = (tag, cells) =>
    el('tr', ...columns.map((_, n) => Object.assign(el(tag, ...inline(cells[n] ?? '')), { className: align[n] ?? 'left' })));
  const body = lines.slice(at + 2, end).map((line) => row('td', cellsOf(line)));
  const scroller = el('div', el('table', el('thead', row('th', columns)), el('tbody', ...body)));
  scroller.className = 'table';
  scroller.tabIndex = 0;
  return [scroller, end];
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() !== '' && !startsBlock(lines[end]) && !startsTable(lines, end)) {
    if (depth < MAX_DEPTH && ITEM.test(lines[end])) break;
    end += 1;
  }
  return [el('p', ...lines.slice(at, end).flatMap((line, n) => (n === 0 ? inline(line.trim()) : [el('br'), ...inline(line.trim())]))), end];
}

function inline(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, , code, strong, strike, emphasis, underlined, label, target, address, escaped] = match;
    if (match.index > at) found.push(text.slice(at, match.index));
    at = match.index + whole.length;
    if (code !== undefined) found.push(el('code', code));
    else if (strong !== undefined) found.push(el('strong', ...inline(strong)));
    else if (strike !== undefined) found.push(el('s', ...inline(strike)));
    else if (emphasis !== undefined || underlined !== undefined) found.push(el('em', ...inline(emphasis ?? underlined)));
    else if (target !== undefined) found.push(link(target, label === '' ? target : label));
    else if (address !== undefined) found.push(link(address, address));
    else found.push(escaped);
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}

/** A link's address begins with http, https or mailto, by the pattern that found it. */
export function link(address, label) {
  const element = el('a', label);
  element.href = address;
  element.rel = 'noopener noreferrer';
  element.target = '_blank';
  return element;
}
