// Owns how an alarm calls: sound, a spoken line, a mark in the title, a notice on the desktop. The server says which
// there are and who has seen them; only silence is this browser's own.
import { morph } from './morph.js';
import { SAID_MS } from './say.js';

const POLL_MS = 3000;
const TIMEOUT_MS = 8000;
const AGAIN_MS = 5000;
const SILENCE_MS = 600_000;
const TONES = { severe: ['square', [880, 620, 880, 620]], mild: ['sine', [440, 550]] };
const SILENT_UNTIL = 'alarms-silent-until';

// Returns what asks for them anew. `isFollowing()`: whether the server tells by itself that they are other ones.
export function callForAlarms(section, isFollowing) {
  const list = section.querySelector('#alarm-list');
  const part = (name) => section.querySelector(`[data-${name}]`);
  const title = document.title;
  const context = window.AudioContext && new AudioContext();
  let told = new Set();
  let failures = 0;
  let cleared = 0;
  let isFetching = false;
  let isStale = false;

  const isSilent = () => Number(localStorage.getItem(SILENT_UNTIL)) > Date.now();
  const open = () => [...list.querySelectorAll('[data-level]:not([data-acknowledged])')];
  const isSevere = (one) => one.dataset.level === 'severe';

  function sound(level) {
    if (context?.state !== 'running' || isSilent()) return;
    const [type, frequencies] = TONES[level];
    frequencies.forEach((frequency, at) => {
      const tone = new OscillatorNode(context, { type, frequency });
      const begins = context.currentTime + at * 0.22;
      tone.connect(new GainNode(context, { gain: type === 'square' ? 0.12 : 0.25 })).connect(context.destination);
      tone.start(begins);
      tone.stop(begins + 0.18);
    });
  }

  function mind() {
    const standing = open();
    const fresh = standing.filter(({ dataset }) => !told.has(dataset.key));
    told = new Set(standing.map(({ dataset }) => dataset.key));
    document.title = standing.length ? `${standing.some(isSevere) ? '✖' : '▲'} ${standing.length} · ${title}` : title;
    if (fresh.length) call(fresh);
  }

  function call(fresh) {
    const words = fresh.map((one) => one.querySelector('[data-words]').textContent.trim());
    part('alarm-says').textContent = words.join('. ');
    clearTimeout(cleared);
    cleared = setTimeout(() => (part('alarm-says').textContent = ''), SAID_MS);
    sound(fresh.some(isSevere) ? 'severe' : 'mild');
    if (window.Notification?.permission === 'granted') new Notification(title, { body: words.join('\n'), tag: 'alarm' });
  }

  async function refresh() {
    if (isFetching) return void (isStale = true);
    isFetching = true;
    const text = await ask();
    isFetching = false;
    failures = text ? 0 : failures + 1;
    part('cut-off').hidden = failures < 2;
    if (failures === 2) sound('mild');
    if (text) put(text);
    if (!isStale) return;
    isStale = false;
    refresh();
  }

  async function ask() {
    const cut = new AbortController();
    const timer = setTimeout(() => cut.abort(), TIMEOUT_MS);
    try {
      const answer = await fetch(section.dataset.alarms, { redirect: 'manual', signal: cut.signal });
      return answer.ok && (await answer.text());
    } catch {
      return '';
    } finally {
      clearTimeout(timer);
    }
  }

  function put(text) {
    const fresh = new DOMParser().parseFromString(text, 'text/html');
    for (const back of fresh.querySelectorAll('[name=back]')) back.setAttribute('value', section.dataset.back);
    const held = list.contains(document.activeElement);
    morph(list, fresh.getElementById('alarm-list'));
    if (held && document.activeElement === document.body) section.querySelector('h2').focus();
    mind();
  }

  function showTools() {
    part('blocked').hidden = !context || context.state === 'running';
    part('muted').hidden = !isSilent();
    section.querySelector('[data-do=mute]').setAttribute('aria-pressed', isSilent());
    section.querySelector('[data-do=notify]').hidden = window.Notification?.permission !== 'default';
    const until = new Date(Number(localStorage.getItem(SILENT_UNTIL)));
    if (isSilent()) part('muted').lastElementChild.textContent = until.toTimeString().slice(0, 5);
  }

  const acts = {
    mute: () => localStorage.setItem(SILENT_UNTIL, isSilent() ? 0 : Date.now() + SILENCE_MS),
    notify: () => Notification.requestPermission(),
    async test() {
      await context?.resume();
      if (isSilent()) acts.mute();
      sound('severe');
      setTimeout(sound, 1200, 'mild');
    },
  };

  section.querySelector('.alarm-tools').addEventListener('click', async ({ target }) => {
    await acts[target.dataset.do]?.();
    showTools();
  });
  section.addEventListener('submit', async (event) => {
    event.preventDefault();
    await fetch(event.target.action, { method: 'POST', body: new FormData(event.target), redirect: 'manual' }).catch(() => 0);
    refresh();
  });
  for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, () => context?.resume());
  context?.addEventListener('statechange', () => {
    showTools();
    if (open().length) sound(open().some(isSevere) ? 'severe' : 'mild'); // what it kept back
  });
  setInterval(() => (failures || !isFollowing()) && refresh(), POLL_MS);
  setInterval(() => open().some(isSevere) && sound('severe'), AGAIN_MS);
  setInterval(showTools, 1000);
  section.querySelector('.alarm-tools').hidden = false;
  showTools();
  mind();
  return refresh;
}
