/** Files of messages: a chip that downloads, and pictures shown in place. */
import { request } from './api.js';
import { el } from './markdown.js';

/** A larger picture is fetched when somebody asks for it. */
const SHOW_UP_TO_BYTES = 5 * 1024 * 1024;
const PICTURES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

export function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const [unit, size] = bytes < 1024 ** 2 ? ['KB', 1024] : bytes < 1024 ** 3 ? ['MB', 1024 ** 2] : ['GB', 1024 ** 3];
  return `${(bytes / size).toFixed(bytes / size < 10 ? 1 : 0)} ${unit}`;
}

/** `path`: behind /files/. `onFailure` gets a sentence. */
export function fileView({ name, mimeType, sizeBytes }, path, onFailure) {
  const chip = el('button', '📄 ', Object.assign(el('span', name), { className: 'name' }), el('small', sizeOf(sizeBytes)));
  chip.type = 'button';
  chip.className = 'file';
  chip.setAttribute('aria-label', `Download ${name}, ${sizeOf(sizeBytes)}`);
  chip.addEventListener('click', async () => {
    chip.disabled = true;
    try {
      const blob = await bytesOf(path);
      const address = URL.createObjectURL(blob);
      Object.assign(el('a'), { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      onFailure(`${name} could not be downloaded: ${error.message}`);
    }
    chip.disabled = false;
  });
  if (!PICTURES.has(mimeType) || sizeBytes > SHOW_UP_TO_BYTES) return [chip];
  const picture = Object.assign(el('img'), { alt: name, hidden: true });
  // A link cannot carry the token, so the bytes are fetched and shown from memory.
  bytesOf(path).then(
    (blob) => Object.assign(picture, { src: URL.createObjectURL(blob), hidden: false }),
    () => {}, // the chip says why when it is asked
  );
  return [chip, picture];
}

async function bytesOf(path) {
  return (await request(`/files/${path}`)).blob();
}
