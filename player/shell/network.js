// Owns the first guess about the network, before anything was measured (Network Information API where it exists).
const SLOW = ['slow-2g', '2g', '3g'];
const CAUTIOUS_BPS = 150_000;
const CONFIDENT_BPS = 3_000_000;

const connection = () => navigator.connection ?? {};

export function isSlow({ saveData, effectiveType } = connection()) {
  return Boolean(saveData) || SLOW.includes(effectiveType);
}

// Downward only: a mode that follows every guess of the browser would load the stream anew again and again.
export function onSlower(act) {
  connection().addEventListener?.('change', () => isSlow() && act());
}

// `downlink` is in Mbit/s, rounded and capped by the browser: trust less than half of it.
export function startEstimateBps({ downlink, ...rest } = connection()) {
  if (!downlink || isSlow(rest)) return CAUTIOUS_BPS;
  return Math.min(CONFIDENT_BPS, Math.max(CAUTIOUS_BPS, downlink * 0.4e6));
}
