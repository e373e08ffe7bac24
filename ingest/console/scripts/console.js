// Owns what moves on the console: numbers and states as they change, the time left for an undo, copying.
import { callForAlarms } from './alarms.js';
import { drawGraphs } from './graphs.js';
import { morph } from './morph.js';
import { offerPreviews } from './previews.js';
import { sayChanges } from './say.js';
import { putCards, refreshStills } from './wall.js';

const POLL_MS = 3000;
const WALL_POLL_MS = 10_000;
const SPREAD_MS = 3000;
const SILENCE_MS = 25_000; // the server is heard every ten seconds
const regions = [...document.querySelectorAll('[data-live]')];
const { events, page: ownAddress } = document.querySelector('[data-events]')?.dataset ?? {};

if (events) follow(events);
setInterval(countDown, 250);
countDown();
offerCopies();
drawGraphs(document.querySelector('[data-graphs]'));
sayChanges(document.querySelector('[data-says-changes]'));
const endPreviews = offerPreviews(document.querySelector('[data-previews]'));

// Told by the server; where that fails for good, asked again and again. Closing the page changes nothing.
function follow(address) {
  const isWall = Boolean(document.querySelector('[data-cards]'));
  const alarms = document.querySelector('[data-alarms]');
  let timer = 0;
  let known = '';
  let source;
  let heardMs = 0;
  let opens = 0;
  const isHeard = () => Date.now() - heardMs < SILENCE_MS;
  const refreshAlarms = alarms ? callForAlarms(alarms, () => source.readyState === EventSource.OPEN && isHeard()) : () => {};

  function open() {
    heardMs = Date.now();
    source = new EventSource(known ? address.replace(/since=[^&]*/, `since=${known}`) : address);
    source.addEventListener('numbers', ({ data }) => JSON.parse(data).forEach(showNumbers));
    source.addEventListener('cards', ({ data, lastEventId }) => {
      known = lastEventId;
      if (!putCards(JSON.parse(data))) fetchAnew();
    });
    source.addEventListener('alarms', refreshAlarms);
    source.addEventListener('load', ({ data }) => showLoad(JSON.parse(data)));
    source.addEventListener('changed', ({ lastEventId }) => {
      known = lastEventId;
      setTimeout(fetchAnew, isWall ? Math.random() * SPREAD_MS : 0); // all walls are told so at once: after a restart
    });
    for (const kind of ['open', 'beat', 'numbers', 'cards', 'changed', 'alarms']) source.addEventListener(kind, () => (heardMs = Date.now()));
    source.addEventListener('open', () => {
      timer = clearInterval(timer) ?? 0;
      refreshAlarms();
      if (!isWall) fetchAnew(); // what happened between the page's making and now would never be told
      else if (opens++) setTimeout(fetchAnew, Math.random() * SPREAD_MS); // there may be other channels than those it began with
    });
    source.addEventListener('error', () => {
      timer ||= setInterval(fetchAnew, isWall ? WALL_POLL_MS : POLL_MS);
      if (source.readyState === EventSource.CLOSED) setTimeout(open, POLL_MS + Math.random() * SPREAD_MS);
    });
  }
  open();
  setInterval(() => {
    if (isHeard() || source.readyState !== EventSource.OPEN) return;
    source.close(); // a path that is gone without a word looks open for many minutes
    open();
  }, SILENCE_MS / 5);
  if (isWall) refreshStills();
}

function showNumbers({ channel, ...roles }) {
  for (const [role, numbers] of Object.entries(roles)) {
    for (const [name, value] of Object.entries(numbers)) {
      for (const place of document.querySelectorAll(`[data-number="${channel}.${role}.${name}"]`)) {
        if (place.matches('meter')) place.value = value;
        else place.textContent = String(value).replace('-', '−');
      }
    }
  }
}

// Number by number: who reads the table with a screen reader would be thrown to its beginning by a new one.
function showLoad(html) {
  const load = document.getElementById('load');
  const fresh = load.cloneNode(false);
  fresh.innerHTML = html;
  morph(load, fresh);
}

let isFetching = false;
let isStale = false;
let again = 0;

// What was told to have changed is told once.
function askAgain() {
  clearTimeout(again);
  again = setTimeout(fetchAnew, POLL_MS + Math.random() * SPREAD_MS);
}

async function fetchAnew() {
  if (isFetching) return void (isStale = true);
  isFetching = true;
  try {
    const response = await fetch(ownAddress, { redirect: 'manual' });
    if (response.ok) replaceRegions(new DOMParser().parseFromString(await response.text(), 'text/html'));
    else if (response.type === 'opaqueredirect') location.reload(); // logged out meanwhile
    else if (response.status === 429 || response.status >= 500) askAgain();
  } catch {
    askAgain(); // the network is away
  } finally {
    isFetching = false;
    if (isStale) {
      isStale = false;
      fetchAnew();
    }
  }
}

// Only what the server says anew is touched, and the keyboard stays where it was.
function replaceRegions(page) {
  if (!page.querySelector('[data-previews]')) endPreviews(); // of a broadcast that is over
  for (const region of regions) {
    const fresh = page.getElementById(region.id);
    if (fresh) morph(region, fresh);
  }
  countDown();
}

function countDown() {
  for (const undo of document.querySelectorAll('[data-until]')) {
    const leftS = Math.ceil((Date.parse(undo.dataset.until) - Date.now()) / 1000);
    undo.hidden = leftS <= 0;
    undo.querySelector('[data-left]').textContent = `(${Math.min(leftS, 10)})`;
  }
}

function offerCopies() {
  for (const button of document.querySelectorAll('[data-copy]')) {
    button.hidden = !navigator.clipboard;
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = button.dataset.copied;
    });
  }
}
