// Owns the form that checks a file: works its hash out here, in pieces, and asks with that alone. Without it the form
// sends the file. A second file that is chosen while one is read takes its place.
import { Sha256 } from './sha256.js';

const PIECE_BYTES = 2 << 20;

async function hash(file, onProgress) {
  const sum = new Sha256();
  for (let at = 0; at < file.size; at += PIECE_BYTES) {
    sum.update(new Uint8Array(await file.slice(at, at + PIECE_BYTES).arrayBuffer()));
    onProgress(Math.min(1, (at + PIECE_BYTES) / file.size));
  }
  return sum.hex();
}

for (const form of document.querySelectorAll('form[data-check]')) {
  const says = form.querySelector('[data-says]');
  const bar = form.querySelector('progress');
  let turn = 0;
  form.addEventListener('submit', async (event) => {
    const file = form.elements.file.files[0];
    if (!file) return;
    event.preventDefault();
    const mine = ++turn;
    says.textContent = form.dataset.working;
    bar.hidden = false;
    try {
      const sha256 = await hash(file, (part) => {
        if (mine === turn) bar.value = part * 1000;
      });
      const isMp4 = /\.(mp4|m4a)$/i.test(file.name); // exports are, and say more of themselves than their hash
      if (mine === turn) location.assign(`${form.getAttribute('action')}?sha256=${sha256}${isMp4 ? '&mp4' : ''}`);
    } catch {
      if (mine !== turn) return;
      says.textContent = form.dataset.failed;
      bar.hidden = true;
    }
  });
}
