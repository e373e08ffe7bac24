// Owns playback through hls.js (Media Source Extensions): low latency, quality, recovery of media errors.
import { startEstimateBps } from './network.js';

const MEDIA_ERROR_PERIOD_MS = 5_000;
const GONE = [404, 410];
const LOW_LATENCY_NEWS_MS = 3_000; // a part comes twice a second

// Tells viewers behind one address apart (player/audience.py). It lives as long as this page and is kept nowhere.
const NUMBER = Math.random().toString(36).slice(2, 12);

function openNumbered(request, url) {
  const address = new URL(url, location.href);
  if (!/^\/live\/.*\.m3u8$/.test(address.pathname)) return;
  address.searchParams.set('w', NUMBER);
  request.open('GET', address.href, true);
}

function settings({ isLowLatency, startPosition }) {
  return {
    xhrSetup: openNumbered,
    enableWorker: false, // fMP4 passes through; a worker would need blob: in the policy
    lowLatencyMode: isLowLatency,
    maxLiveSyncPlaybackRate: isLowLatency ? 1.1 : 1,
    liveDurationInfinity: true,
    startPosition,
    startLevel: -1,
    testBandwidth: false, // a live viewer waits for the picture, not for a measurement
    abrEwmaDefaultEstimate: startEstimateBps(),
    capLevelToPlayerSize: true,
    maxDevicePixelRatio: 1.5,
    maxBufferLength: 20,
    maxMaxBufferLength: 40,
    maxBufferSize: 6_000_000,
    backBufferLength: 30,
  };
}

export class HlsEngine extends EventTarget {
  kind = 'hls';

  constructor(Hls, video, options) {
    super();
    this.video = video;
    this.lastMediaErrorMs = -Infinity;
    this.hls = new Hls(settings(options));
    this.hls.on(Hls.Events.MANIFEST_PARSED, () => this.dispatchEvent(new Event('levels')));
    this.hls.on(Hls.Events.LEVEL_SWITCHED, () => this.dispatchEvent(new Event('levels')));
    this.hls.on(Hls.Events.LEVEL_UPDATED, () => this.resume());
    this.hls.on(Hls.Events.ERROR, (_, data) => data.fatal && this.onFatal(Hls.ErrorTypes, data));
    this.resumeDateMs = options.resumeDateMs;
    this.isLowLatency = options.isLowLatency;
  }

  load(url) {
    this.hls.loadSource(url);
    this.hls.attachMedia(this.video);
  }

  destroy() {
    this.hls.destroy();
  }

  onFatal(types, { type, response }) {
    const nowMs = performance.now();
    if (type === types.MEDIA_ERROR && nowMs - this.lastMediaErrorMs > MEDIA_ERROR_PERIOD_MS) {
      this.lastMediaErrorMs = nowMs;
      this.hls.recoverMediaError();
      return;
    }
    const isGone = GONE.includes(response?.code); // after a restart of the server the addresses may be new
    this.dispatchEvent(new CustomEvent('trouble', { detail: { isGone } }));
  }

  // Goes back to the place a viewer had before the source was loaded anew.
  resume() {
    const first = this.details?.fragments[0];
    if (!this.resumeDateMs || !first?.programDateTime) return;
    const positionS = first.start + (this.resumeDateMs - first.programDateTime) / 1000;
    this.resumeDateMs = 0;
    if (positionS < this.edgeS) this.video.currentTime = Math.max(positionS, first.start);
  }

  get details() {
    return this.hls.latestLevelDetails;
  }

  get isLive() {
    return this.details?.live ?? false;
  }

  // Whether the playlist still grows: not while the server is away, though it answers from its files.
  get isAdvancing() {
    if (!this.isLive) return true;
    const { advancedDateTime, targetduration } = this.details;
    return Date.now() - advancedDateTime < (this.isLowLatency ? LOW_LATENCY_NEWS_MS : targetduration * 2000);
  }

  get dateMs() {
    return this.hls.playingDate?.getTime() ?? null;
  }

  get latencyS() {
    return this.hls.latency;
  }

  get targetS() {
    return this.hls.targetLatency;
  }

  get startS() {
    return this.details?.fragments[0]?.start ?? 0;
  }

  get edgeS() {
    return this.isLive ? (this.hls.liveSyncPosition ?? this.startS) : (this.details?.edge ?? 0);
  }

  get levels() {
    return this.hls.levels.map((level, id) => ({ id, height: level.height, bitrateBps: level.averageBitrate || level.bitrate }));
  }

  get hasNoPicture() {
    return this.hls.levels.length > 0 && this.hls.levels.every(({ height }) => !height);
  }

  get level() {
    return this.hls.manualLevel;
  }

  set level(id) {
    this.hls.nextLevel = id;
  }

  get shownLevel() {
    return this.hls.currentLevel;
  }
}
