// Owns the graphs of a channel's feeds: bitrate over the last five minutes, or the whole broadcast.
import uPlot from 'uplot';

const EVERY_MS = 2000;
const HEIGHT = 200;
const COLOURS = { primary: '#0b6b2a', backup: '#0a5c8a' };

export function drawGraphs(root) {
  if (!root) return;
  const place = root.querySelector('[data-graph]');
  const words = JSON.parse(root.dataset.words);
  let step = 1;
  let plot = null;

  async function draw() {
    const series = await Promise.all(Object.keys(COLOURS).map((role) => read(`${root.dataset.graphs}${role}?step=${step}`)));
    const data = uPlot.join(series.map(({ times, kbits }) => [times, kbits]));
    if (!data[0].length) return;
    if (!plot) plot = new uPlot(options(words, place.clientWidth), data, place);
    else plot.setData(data);
  }

  root.addEventListener('click', ({ target }) => {
    if (!target.dataset?.step) return;
    step = Number(target.dataset.step);
    for (const button of root.querySelectorAll('[data-step]')) button.setAttribute('aria-pressed', String(button === target));
    draw();
  });
  new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  setInterval(() => document.hidden || draw(), EVERY_MS);
  draw();
}

async function read(address) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) return { times: [], kbits: [] };
  return columns(await response.json());
}

// Each row holds the least, the mean and the most of its step.
function columns({ at_s: times, columns: { received_bps: rows } }) {
  return { times, kbits: rows.map(([, mean]) => (mean === null ? null : Math.round(mean / 1000))) };
}

function options(words, width) {
  const line = (role) => ({ label: words[role], stroke: COLOURS[role], width: 2, dash: role === 'backup' ? [6, 4] : undefined });
  return {
    width,
    height: HEIGHT,
    tzDate: (at_s) => uPlot.tzDate(new Date(at_s * 1000), 'Africa/Dar_es_Salaam'),
    legend: { live: false },
    padding: [null, 30, null, null], // half of the last moment's label
    axes: [{ space: 80, values: [[1, '{HH}:{mm}:{ss}', null, null, null, null, null, null, 1]] }, {}],
    title: words.bitrate,
    series: [{}, line('primary'), line('backup')],
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(100, high * 1.1)] } },
  };
}
