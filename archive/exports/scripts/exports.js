// Owns the page of exports: keeps the list as the server says while something is being made. Without it, reload.
import { morph } from '../../../ingest/console/scripts/morph.js';

const LIST_MS = 2000;
const list = document.querySelector('[data-exports]');

async function refresh() {
  const answer = await fetch(location.pathname + location.search, { cache: 'no-store' }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('[data-exports]');
  if (fresh) morph(list, fresh);
}

setInterval(() => {
  if (!document.hidden && list.hasAttribute('data-under-way')) refresh();
}, LIST_MS);
