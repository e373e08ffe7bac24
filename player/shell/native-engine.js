// Owns playback by the browser's own HLS, where there is no Media Source Extensions (iPhones before iOS 17.1).
export class NativeEngine extends EventTarget {
  kind = 'native';
  levels = [];
  level = -1;
  shownLevel = -1;
  isAdvancing = true; // nothing tells
  hasNoPicture = false; // not known before it plays
  targetS = null;
  latencyS = null; // without a date nothing tells the delay

  constructor(video, { startPosition }) {
    super();
    this.video = video;
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    video.addEventListener('error', () => this.dispatchEvent(new CustomEvent('trouble', { detail: { isGone: false } })), { signal });
    video.addEventListener('loadedmetadata', () => startPosition > 0 && (video.currentTime = startPosition), { signal });
  }

  load(url) {
    this.video.src = url;
  }

  destroy() {
    this.listeners.abort();
    this.video.removeAttribute('src');
    this.video.load();
  }

  get isLive() {
    return this.video.duration === Infinity;
  }

  // getStartDate (Safari): the date of the timeline's zero, from PROGRAM-DATE-TIME
  get dateMs() {
    const startMs = this.video.getStartDate?.().getTime();
    return startMs ? startMs + this.video.currentTime * 1000 : null;
  }

  get startS() {
    const { seekable } = this.video;
    return seekable.length ? seekable.start(0) : 0;
  }

  get endS() {
    const { seekable } = this.video;
    return seekable.length ? seekable.end(seekable.length - 1) : this.video.currentTime;
  }

  get edgeS() {
    return this.endS;
  }
}
