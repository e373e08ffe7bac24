// Owns the wall's cards: each that the server says anew takes its place, and the keyboard stays where it was.
const STILLS_MS = 10_000;
const BAD = '.feed.bad, .feed.noData';

/** Puts cards where they belong. Returns whether a feed in one of them is worse than it was; null: the page must be fetched. */
export function putCards(cards) {
  const lists = Object.fromEntries([...document.querySelectorAll('[data-cards]')].map((list) => [list.dataset.cards, list]));
  if (!lists.active || !lists.quiet) return null;
  lists.quiet.parentElement.hidden = false; // what is hidden can't hold the keyboard
  const isWorse = cards.map((card) => put(card, card.active ? lists.active : lists.quiet)).some(Boolean);
  lists.quiet.parentElement.hidden = !lists.quiet.children.length;
  return isWorse;
}

function put({ id, order, html }, list) {
  const holder = document.createElement('template');
  holder.innerHTML = html;
  const fresh = holder.content.firstElementChild;
  const old = document.getElementById(id);
  for (const still of fresh.querySelectorAll('[data-still]')) {
    const shown = old?.querySelector(`[data-still=${still.dataset.still}]`);
    if (shown) still.src = shown.src; // a picture that is there already does not blink
  }
  if (old?.outerHTML === fresh.outerHTML) return false;
  const held = old?.contains(document.activeElement);
  const isWorse = Boolean(old) && troubles(fresh) > troubles(old);
  if (old?.parentElement === list && old.dataset.order === order) old.replaceWith(fresh);
  else {
    old?.remove();
    list.insertBefore(fresh, [...list.children].find((one) => one.dataset.order > order) ?? null);
  }
  if (held) fresh.querySelector('a')?.focus();
  return isWorse;
}

// A feed that has gone is as bad as a bad one; a channel that has just become a card has lost nothing.
function troubles(card) {
  return card.querySelectorAll(BAD).length + (card.matches('.card') ? card.querySelectorAll('.feed.absent').length : 2);
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
