// Owns the wall's cards: each that the server says anew takes its place, and the keyboard stays where it was.
import { morph } from './morph.js';

const STILLS_MS = 10_000;

/** Puts cards where they belong. False: the page must be fetched. */
export function putCards(cards) {
  const lists = Object.fromEntries([...document.querySelectorAll('[data-cards]')].map((list) => [list.dataset.cards, list]));
  if (!lists.active || !lists.quiet) return false;
  lists.quiet.parentElement.hidden = false; // what is hidden can't hold the keyboard
  for (const card of cards) put(card, card.active ? lists.active : lists.quiet);
  lists.quiet.parentElement.hidden = !lists.quiet.children.length;
  return true;
}

function put({ id, order, html }, list) {
  const holder = document.createElement('template');
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  const old = document.getElementById(id);
  for (const still of fresh.querySelectorAll('[data-still]')) {
    const shown = old?.querySelector(`[data-still=${still.dataset.still}]`);
    if (shown) still.setAttribute('src', shown.getAttribute('src')); // a picture that is there already does not blink
  }
  const held = old?.contains(document.activeElement);
  const isInPlace = old?.parentElement === list && old.dataset.order === order;
  if (old) morph(old, fresh);
  const card = old ?? fresh;
  if (!isInPlace) list.insertBefore(card, [...list.children].find((one) => one !== card && one.dataset.order > order) ?? null);
  if (held && !card.contains(document.activeElement)) card.querySelector('a')?.focus();
}

/** Asks anew for the pictures that somebody sees. */
export function refreshStills() {
  setInterval(() => {
    if (document.hidden) return;
    for (const still of document.querySelectorAll('[data-still]')) {
      const { top, bottom } = still.getBoundingClientRect();
      if (bottom > 0 && top < innerHeight) still.src = `${still.src.split('?')[0]}?${Math.floor(Date.now() / STILLS_MS)}`;
    }
  }, STILLS_MS);
}
