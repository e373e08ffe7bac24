// Owns what is known of the channel's feed: polls state.json and keeps the server's clock.
const PERIOD_MS = 3_000;
const HIDDEN_PERIOD_MS = 30_000;
const IDLE_PERIOD_MS = 15_000; // nobody waits for news: it costs the viewer's data
const TIMEOUT_MS = 8_000;
const CLOCK_TOLERANCE_MS = 2_000; // the Date header counts whole seconds

export class Feed extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.facts = null; // state.json as last read
    this.isReachable = true;
    this.isUrgent = false; // a viewer waits in front of a picture that does not move
    this.offsetMs = 0;
    this.timer = 0;
    document.addEventListener('visibilitychange', () => {
      if (this.timer && !document.hidden) this.watch();
    });
  }

  get nowMs() {
    return Date.now() + this.offsetMs;
  }

  // Asks now, then again and again until rest().
  async watch() {
    clearTimeout(this.timer);
    const mine = (this.timer = setTimeout(() => {}, TIMEOUT_MS));
    await this.ask();
    if (this.timer === mine) this.timer = setTimeout(() => this.watch(), this.periodMs);
  }

  rest() {
    clearTimeout(this.timer);
    this.timer = 0;
  }

  get periodMs() {
    if (document.hidden) return HIDDEN_PERIOD_MS;
    const isSettled = ['live', 'ended'].includes(this.facts?.state);
    return isSettled && !this.isUrgent ? IDLE_PERIOD_MS : PERIOD_MS;
  }

  async ask() {
    const askedMs = Date.now();
    try {
      const response = await fetch(this.url, { cache: 'no-cache', signal: timeoutSignal(TIMEOUT_MS) });
      this.setClock(response.headers.get('Date'), askedMs);
      // 404: the channel exists (the page does) but nothing was ever published on it
      if (!response.ok && response.status !== 404) throw new Error(String(response.status));
      this.facts = response.ok ? await response.json() : { state: 'offline', broadcast: null, recording: null };
      this.isReachable = true;
    } catch {
      this.isReachable = false;
    }
    this.dispatchEvent(new Event('news'));
  }

  // Phones with a wrong clock are common: without this the delay shown to them would be nonsense.
  setClock(dateHeader, askedMs) {
    const halfMs = (Date.now() - askedMs) / 2; // a slow answer tells the time less exactly
    const offsetMs = Date.parse(dateHeader) + 500 - (askedMs + halfMs);
    this.offsetMs = Math.abs(offsetMs) > CLOCK_TOLERANCE_MS + halfMs ? offsetMs : 0;
  }
}

function timeoutSignal(delayMs) {
  const controller = new AbortController(); // AbortSignal.timeout is missing before Chrome 103
  setTimeout(() => controller.abort(), delayMs);
  return controller.signal;
}
