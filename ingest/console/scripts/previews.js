// Owns the previews on a page: a picture, sound when asked for, and levels that are read from the server.
import { connect } from './preview.js';

const LEVELS_MS = 300;
const FLOOR = -60;

/** Returns what ends them: nothing is played any more, and they leave the page. */
export function offerPreviews(root) {
  if (!root) return () => {};
  root.hidden = !window.RTCPeerConnection;
  const stops = root.hidden ? [] : [...root.querySelectorAll('[data-preview]')].map((figure) => offer(root, figure));
  return () => {
    if (root.contains(document.activeElement)) document.getElementById('state')?.focus({ preventScroll: true });
    root.remove();
    for (const stop of stops) stop();
  };
}

function offer({ dataset }, figure) {
  const url = dataset.previews + figure.dataset.preview;
  const [video, levels, trouble] = ['video', '.levels', '[data-trouble]'].map((name) => figure.querySelector(name));
  const button = figure.querySelector('[data-look]');
  let stop = null;
  let timer = 0;
  let isOver = false;

  function show(isOn) {
    video.hidden = levels.hidden = !isOn;
    button.textContent = isOn ? dataset.hide : dataset.show;
    button.setAttribute('aria-expanded', String(isOn));
    clearInterval(timer);
    if (isOn) timer = setInterval(() => readLevels(`${url}/levels`, figure), LEVELS_MS);
    else stop = null;
  }

  button.addEventListener('click', async () => {
    if (stop) return stop();
    trouble.textContent = '';
    const options = { headers: { 'x-csrf': dataset.csrf }, onstate: (state) => show(state !== 'ended') };
    stop = () => {};
    try {
      stop = await look(video, url, options);
      if (isOver) return stop();
      video.play();
    } catch (error) {
      show(false);
      trouble.textContent = error.text?.[dataset.language] ?? dataset.failed;
    }
  });
  figure.querySelector('[data-unmute]').addEventListener('click', ({ target }) => {
    video.muted = !video.muted;
    target.setAttribute('aria-pressed', String(!video.muted));
  });
  return () => {
    isOver = true;
    stop?.();
  };
}

// Pictures with B-frames don't go through WebRTC: then the sound alone, and why.
async function look(video, url, options) {
  try {
    return await connect(video, url, options);
  } catch (error) {
    if (error.reason !== 'bFrames') throw error;
    const stop = await connect(video, url, { ...options, picture: false });
    video.closest('figure').querySelector('[data-trouble]').textContent = error.text[document.documentElement.lang];
    return stop;
  }
}

async function readLevels(url, figure) {
  const response = await fetch(url).catch(() => null);
  const levels = response?.ok ? (await response.json()).levels : null;
  if (!levels) return;
  tell(figure, 'peak', Math.max(...levels.peak_dbfs));
  tell(figure, 'lufs', levels.momentary_lufs);
}

function tell(figure, name, value) {
  figure.querySelector(`[data-level=${name}]`).value = Math.max(FLOOR, value);
  figure.querySelector(`[data-says=${name}]`).textContent = value > FLOOR ? value.toFixed(1) : '–';
}
