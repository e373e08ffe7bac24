// Owns the player element: what the viewer wants, what is loaded, and the way from troubles back to the picture.
import { Controls } from './controls.js';
import { Feed } from './feed.js';
import { HlsEngine } from './hls-engine.js';
import { actionOf } from './keys.js';
import { recall, remember } from './memory.js';
import { NativeEngine } from './native-engine.js';
import { isSlow } from './network.js';
import { Panel } from './panel.js';
import { retryDelayS, stateOf } from './state.js';

const TICK_MS = 500;
const STEP_S = 10;
const AT_LIVE_S = 3; // nearer to the sync position than this counts as live
const STALL_MS = 700; // shorter ones are not worth a panel
const STUCK_MS = 8_000; // the feed is live and yet nothing moves: load anew
const KEEP_PLACE_S = 15; // further behind live than this is a place that the viewer chose
const STALLS_PER_MINUTE = 3; // then low latency costs more than it gives
const IDLE_BAR_MS = 3_000;

const MediaSourceClass = () => self.ManagedMediaSource ?? self.MediaSource;

export class Player extends HTMLElement {
  connectedCallback() {
    if (this.feed) return;
    this.readPage();
    this.wireVideo();
    this.wireControls();
    this.upgrade();
    if (this.isRecording) this.show();
    else this.watchFeed();
  }

  readPage() {
    const { kind, src, soundSrc, stateUrl, name } = this.dataset;
    const { isSoundOnly = false, isLowLatency = true } = recall();
    this.video = this.querySelector('video');
    this.name = name;
    this.isRecording = kind === 'recording';
    [this.src, this.soundSrc] = [src, soundSrc];
    this.feed = new Feed(stateUrl);
    this.feed.addEventListener('news', () => this.onNews());
    this.panel = new Panel(this);
    this.controls = new Controls(this);
    Object.assign(this, { isSoundOnly, isLowLatency: isLowLatency && !isSlow(), engine: null, broadcast: null });
    Object.assign(this, { isWanted: false, hasPlayed: false, isStalled: true, isOver: false, retry: null, stalls: [] });
  }

  upgrade() {
    this.querySelector('[data-plain]').remove(); // the plain audio of a page without scripts
    for (const part of this.querySelectorAll('[data-shell]')) part.hidden = false;
    const canFill = this.requestFullscreen || this.video.webkitEnterFullscreen;
    this.controls.buttons.fullscreen.hidden = !canFill;
    if (!isSlow()) self.requestIdleCallback?.(() => this.preload(), { timeout: 5_000 });
  }

  // --- what the viewer does ---

  wireControls() {
    this.addEventListener('click', (event) => this.onClick(event));
    this.addEventListener('keydown', (event) => this.onKey(event));
    this.addEventListener('pointerdown', () => this.preload(), { once: true });
    this.addEventListener('pointermove', () => this.wakeBar());
    this.addEventListener('focusin', () => this.wakeBar());
    document.addEventListener('fullscreenchange', () => this.show());
    addEventListener('online', () => this.retry && this.tryNow());
    const { seek, volume, qualities, modes } = this.controls;
    seek.addEventListener('input', () => this.onSeekPreview());
    seek.addEventListener('change', () => this.onSeek());
    volume.addEventListener('input', () => this.setVolume(Number(volume.value)));
    qualities.addEventListener('change', ({ target }) => this.setQuality(Number(target.value)));
    modes.addEventListener('change', ({ target }) => this.setLowLatency(target.value === 'low'));
  }

  onClick(event) {
    const { target } = event;
    const action = target.closest('[data-do]')?.dataset.do;
    if (action) this[action]();
    else if (target.closest('.screen') && !target.closest('a')) this.clickScreen();
  }

  clickScreen() {
    this.focus({ preventScroll: true }); // so that the keys work
    if (this.engine || this.dataset.state === 'ready') this.toggle();
  }

  onKey(event) {
    if (event.key === 'Escape' && !this.controls.settings.hidden) this.settings();
    const action = actionOf(event);
    if (!action || this.keys.open) return;
    event.preventDefault();
    this[action]();
    this.wakeBar();
  }

  get keys() {
    return this.querySelector('dialog');
  }

  toggle() {
    if (this.dataset.state === 'retrying') this.tryNow();
    else if (!this.engine && this.isWanted) this.disarm();
    else if (this.isOver && this.isRecording) this.again();
    else if (!this.engine || this.video.paused) this.play();
    else this.video.pause();
  }

  play() {
    this.isWanted = true;
    if (this.engine) this.video.play().catch(() => this.show());
    else this.startIfOnAir();
    this.show();
  }

  disarm() {
    this.isWanted = false;
    this.show();
  }

  again() {
    this.isOver = false;
    this.video.currentTime = 0;
    this.play();
  }

  back() {
    this.seekBy(-STEP_S);
  }

  forward() {
    this.seekBy(STEP_S);
  }

  start() {
    if (this.engine) this.seekTo(this.engine.startS);
  }

  live() {
    if (!this.engine) return;
    this.seekTo(this.engine.edgeS);
    this.play();
  }

  seekBy(stepS) {
    if (this.engine) this.seekTo(this.video.currentTime + stepS);
  }

  seekTo(positionS) {
    const { startS, edgeS } = this.engine;
    this.isOver = false;
    this.video.currentTime = Math.min(edgeS, Math.max(startS, positionS));
    this.tick();
  }

  onSeekPreview() {
    this.controls.isDragging = true;
    const positionS = Number(this.controls.seek.value);
    this.controls.showPlace({ ...this.place(), positionS, isAtLive: false, dateMs: null });
  }

  onSeek() {
    this.controls.isDragging = false;
    if (this.engine) this.seekTo(this.engine.startS + Number(this.controls.seek.value));
  }

  mute() {
    this.video.muted = !this.video.muted;
  }

  louder() {
    this.setVolume(this.video.volume + 0.1);
  }

  quieter() {
    this.setVolume(this.video.volume - 0.1);
  }

  setVolume(volume) {
    this.video.volume = Math.min(1, Math.max(0, volume));
    this.video.muted = this.video.volume === 0;
  }

  setQuality(id) {
    this.engine.level = id;
    this.showLevels();
  }

  setLowLatency(isLowLatency) {
    this.isLowLatency = isLowLatency;
    remember({ isLowLatency });
    this.reload();
  }

  soundOnly() {
    this.isSoundOnly = !this.isSoundOnly;
    remember({ isSoundOnly: this.isSoundOnly });
    this.reload();
  }

  settings() {
    this.controls.toggleSettings();
  }

  help() {
    if (this.keys.open) this.keys.close();
    else this.keys.showModal();
  }

  fullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen();
    else this.video.webkitEnterFullscreen();
  }

  // Plays the recording of the broadcast that just ended, in place.
  recording() {
    const { recording } = this.feed.facts;
    this.isRecording = true;
    this.src = recording;
    this.soundSrc = recording.replace('index.m3u8', 'audio.m3u8');
    this.feed.rest();
    this.unload();
    this.play();
  }

  // In full screen the bar lies over the picture and goes away when nobody moves.
  wakeBar() {
    this.toggleAttribute('data-idle', false);
    clearTimeout(this.barTimer);
    this.barTimer = setTimeout(() => this.toggleAttribute('data-idle', !this.video.paused), IDLE_BAR_MS);
  }

  // --- loading ---

  preload() {
    if (MediaSourceClass()) this.library ??= import(this.dataset.engine);
    return this.library;
  }

  startIfOnAir() {
    if (this.isRecording || this.feed.facts?.state === 'live') this.load();
  }

  async load() {
    const turn = (this.turn = Symbol('load'));
    const options = { isLowLatency: this.isLowLatency, startPosition: this.isRecording ? 0 : -1, ...this.comeBack };
    this.comeBack = null;
    const engine = await this.newEngine(options).catch(() => null);
    if (turn !== this.turn) return engine?.destroy();
    if (!engine) return this.isSupported ? this.onTrouble() : this.show();
    this.engine = engine;
    this.broadcast = this.feed.facts?.broadcast;
    this.dataset.with = engine.kind;
    engine.addEventListener('levels', () => this.showLevels());
    engine.addEventListener('trouble', ({ detail }) => this.onTrouble(detail.isGone));
    engine.load(this.isSoundOnly || this.feed.facts?.audio_only ? this.soundSrc : this.src);
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    // refused where the browser wants a new gesture (armed long ago): the panel then offers the button
    this.video.play().catch((error) => error.name === 'NotAllowedError' && this.onRefused());
    this.show();
  }

  async newEngine(options) {
    const Hls = (await this.preload())?.default;
    if (Hls?.isSupported()) return new HlsEngine(Hls, this.video, options);
    this.isNative = this.video.canPlayType('application/vnd.apple.mpegurl') !== '';
    return this.isNative ? new NativeEngine(this.video, options) : null;
  }

  get isSupported() {
    return Boolean(MediaSourceClass()) || this.isNative !== false;
  }

  onRefused() {
    this.unload();
    this.isWanted = false;
    this.show();
  }

  unload() {
    this.turn = null;
    clearInterval(this.ticker);
    this.clearTimers();
    this.engine?.destroy();
    Object.assign(this, { engine: null, hasPlayed: false, isStalled: true, isOver: false });
  }

  clearTimers() {
    clearTimeout(this.stallTimer);
    clearTimeout(this.stuckTimer);
    this.stuckTimer = null;
  }

  // Loads the source anew and comes back to the viewer's place.
  reload() {
    if (this.engine) {
      this.keepPlace(this.place());
      this.isWanted = !this.video.paused || this.isStalled;
      this.unload();
      if (this.isWanted) this.load();
    }
    this.show();
  }

  keepPlace({ isLive, lengthS, positionS, dateMs }) {
    if (!isLive) this.comeBack = { startPosition: positionS };
    else if (lengthS - positionS > KEEP_PLACE_S) this.comeBack = { resumeDateMs: dateMs };
  }

  // --- what the media says ---

  wireVideo() {
    const { video } = this;
    const { volume = 1, isMuted = false } = recall();
    Object.assign(video, { volume, muted: isMuted });
    const on = (names, act) => names.split(' ').forEach((name) => video.addEventListener(name, act));
    on('playing', () => this.onMoving());
    on('timeupdate', () => this.isStalled && !video.seeking && video.readyState > 2 && !video.paused && this.onMoving());
    on('waiting stalled', () => this.onWaiting());
    on('ended', () => this.onEnd());
    on('play pause', () => this.show());
    on('volumechange', () => this.onVolume());
  }

  onMoving() {
    if (!this.engine) return;
    this.clearTimers();
    if (this.isOwnStall) this.countStall();
    Object.assign(this, { hasPlayed: true, isStalled: false, isOver: false, isOwnStall: false });
    this.endRetry();
    if (this.feed.facts?.state === 'live') this.feed.rest();
    this.show();
  }

  onWaiting() {
    if (this.video.readyState > 2 || this.video.paused || !this.hasPlayed) return;
    clearTimeout(this.stallTimer);
    this.stallTimer = setTimeout(() => this.onStall(), STALL_MS);
  }

  onStall() {
    this.isStalled = true;
    this.isOwnStall = !this.video.seeking && !this.retry;
    this.watchFeed();
    this.show();
  }

  // Of stalls that neither the feed nor a lost connection explains: parts come too late for this viewer's network.
  countStall() {
    const nowMs = performance.now();
    this.stalls = [...this.stalls.filter((atMs) => nowMs - atMs < 60_000), nowMs];
    if (this.stalls.length < STALLS_PER_MINUTE || !this.isLowLatency) return;
    this.isLowLatency = false; // for this visit only: nothing is remembered
    setTimeout(() => this.reload());
  }

  onEnd() {
    this.isOver = true;
    this.watchFeed();
    this.show();
  }

  watchFeed() {
    this.feed.isUrgent = Boolean(this.engine);
    if (!this.isRecording) this.feed.watch();
  }

  onVolume() {
    remember({ volume: this.video.volume, isMuted: this.video.muted });
    this.show();
  }

  // --- troubles ---

  onNews() {
    const { facts, isReachable } = this.feed;
    if (!isReachable || facts.state !== 'live') this.isOwnStall = false;
    if (!isReachable) {
      if (!this.engine) this.scheduleRetry();
    } else if (!this.engine) {
      this.endRetry();
      if (this.isWanted) this.startIfOnAir();
    } else if (facts.state === 'live') {
      this.onLiveNews(facts);
    }
    this.show();
  }

  // On the air, but this viewer has no picture: a new broadcast, or the old one came back without the engine noticing.
  onLiveNews({ broadcast }) {
    const isNew = broadcast !== this.broadcast;
    if (isNew && (this.isOver || this.isStalled)) {
      this.unload();
      if (this.isWanted) this.load();
    } else if (this.isStalled && this.hasPlayed && !this.retry) {
      this.stuckTimer ??= setTimeout(() => this.onStuck(), STUCK_MS);
    }
  }

  onStuck() {
    this.stuckTimer = null;
    if (this.isStalled && this.feed.facts?.state === 'live') this.reload();
  }

  onTrouble(isGone = false) {
    if (isGone && !this.retry) this.retry = { attempt: -1, delayS: 0 }; // addresses changed: no need to wait
    this.scheduleRetry();
    this.show();
  }

  scheduleRetry() {
    this.isOwnStall = false;
    const attempt = (this.retry?.attempt ?? -1) + 1;
    clearTimeout(this.retry?.timer);
    const delayS = retryDelayS(attempt);
    this.retry = { attempt, delayS, timer: setTimeout(() => this.tryNow(), delayS * 1000) };
  }

  endRetry() {
    clearTimeout(this.retry?.timer);
    this.retry = null;
  }

  // The engine is made anew only when the feed can be had again: until then the viewer keeps the last picture.
  async tryNow() {
    clearTimeout(this.retry?.timer);
    if (this.isRecording) return this.reloadOrLoad();
    await this.feed.ask();
    if (!this.retry || !this.engine) return;
    if (!this.feed.isReachable) this.scheduleRetry();
    else if (this.feed.facts.state === 'live') this.reloadOrLoad();
    else this.watchFeed();
    this.show();
  }

  reloadOrLoad() {
    if (this.engine) this.reload();
    else if (this.isWanted) this.load();
  }

  // --- what the viewer sees ---

  get feedState() {
    return this.isRecording ? 'live' : (this.feed.facts?.state ?? null);
  }

  place() {
    const { engine, video } = this;
    if (!engine) return { isLive: false, isAtLive: false, lengthS: 0, positionS: 0, delayS: null, dateMs: null };
    const { startS, edgeS, isLive, dateMs } = engine;
    const isAtLive = isLive && edgeS - video.currentTime < AT_LIVE_S;
    const delayS = !isLive || !this.hasPlayed ? null : dateMs ? (this.feed.nowMs - dateMs) / 1000 : engine.latencyS;
    return { isLive, isAtLive, lengthS: edgeS - startS, positionS: video.currentTime - startS, delayS, dateMs };
  }

  tick() {
    const place = this.place();
    this.controls.showPlace(place);
    this.dataset.latency = place.delayS?.toFixed(2) ?? '';
    this.dataset.target = this.engine?.targetS?.toFixed(2) ?? '';
    this.dataset.atLive = place.isAtLive ? 'yes' : 'no';
  }

  showLevels() {
    if (!this.engine) return;
    const { levels, level, shownLevel } = this.engine;
    this.controls.showQualities(levels, level, levels[shownLevel]);
    this.controls.showMeter(levels[shownLevel]);
  }

  show() {
    const { video, feed, isWanted, isSoundOnly, isLowLatency } = this;
    const state = stateOf({
      feed: this.feedState,
      isWanted,
      isLoaded: Boolean(this.engine),
      hasPlayed: this.hasPlayed,
      isPaused: video.paused,
      isStalled: this.isStalled,
      isOver: this.isOver,
      isRetrying: Boolean(this.retry),
      isSupported: this.isSupported,
    });
    const isArmed = isWanted && !this.engine;
    const facts = { state, feed: feed.facts?.state ?? '', lowLatency: isLowLatency ? 'on' : 'off' };
    Object.assign(this.dataset, facts, { soundOnly: isSoundOnly ? 'on' : 'off', armed: isArmed ? 'yes' : 'no' });
    this.panel.show({ ...this.view(state), isArmed, isLoaded: Boolean(this.engine) });
    this.controls.showButtons({
      isPlaying: Boolean(this.engine) && !video.paused && !this.isOver,
      isMuted: video.muted,
      isSoundOnly,
      isFull: Boolean(document.fullscreenElement),
      volume: video.volume,
    });
    this.controls.showMode(isLowLatency, !this.isRecording);
    this.tick();
  }

  view(state) {
    const recording = this.feed.facts?.recording; // "/recordings/ID/index.m3u8"
    const recordingPage = recording && `${this.dataset.recordings}${recording.split('/')[2]}`;
    return { state, name: this.name, isRecording: this.isRecording, recordingPage, retryS: this.retry?.delayS };
  }
}
