// Owns what a screen reader is told of a page that changes by itself: one polite line, in words, of what is other now.
const SETTLE_MS = 400;
export const SAID_MS = 5000; // then it is taken away: who reads on would hear it again, and as if it were so still

export function sayChanges(place) {
  let before = read();
  let timer = 0;
  let cleared = 0;
  const tell = () => {
    timer = 0;
    const now = read();
    const changed = [...now].filter(([key, words]) => before.get(key) !== words).map(([, words]) => words);
    before = now;
    if (!changed.length) return;
    place.textContent = changed.join('. ');
    clearTimeout(cleared);
    cleared = setTimeout(() => (place.textContent = ''), SAID_MS);
  };
  // numbers never stand still: waiting for the page to settle would be waiting for ever
  new MutationObserver(() => (timer ||= setTimeout(tell, SETTLE_MS))).observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true });
}

function read() {
  return new Map([...document.querySelectorAll('[data-say]')].map((one) => [one.dataset.say, words(one)]));
}

function words(one) {
  const said = one.textContent.replace(/\s+/g, ' ').trim();
  return one.dataset.of ? `${one.dataset.of.trim()}: ${said}` : said;
}
