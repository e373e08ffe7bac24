// Owns what a screen reader is told of a page that changes by itself: one polite line, in words, of what is other now.
const SETTLE_MS = 400;

export function sayChanges(place) {
  let before = read();
  let timer = 0;
  const tell = () => {
    timer = 0;
    const now = read();
    const changed = [...now].filter(([key, words]) => before.get(key) !== words).map(([, words]) => words);
    before = now;
    if (changed.length) place.textContent = changed.join('. ');
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
