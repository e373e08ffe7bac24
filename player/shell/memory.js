// Owns what the browser remembers between visits: volume and the viewer's choices. Nothing leaves the device.
const KEY = 'mbashara';

export function recall() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {}; // storage refused (private mode) or damaged: start fresh
  }
}

export function remember(choices) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...recall(), ...choices }));
  } catch {
    // storage refused: the choice lasts for this visit
  }
}
