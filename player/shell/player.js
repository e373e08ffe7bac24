// Owns the player element: what the viewer wants, what is loaded, and the way from troubles back to the picture.
import { Controls } from './controls.js';
import { Feed } from './feed.js';
import { Message } from './message.js';
import { rename } from './name.js';
import { HlsEngine } from './hls-engine.js';
import { actionOf } from './keys.js';
import { recall, remember } from './memory.js';
import { NativeEngine } from './native-engine.js';
import { isSlow, onSlower } from './network.js';
import { Panel } from './panel.js';
import { retryDelayS, stateOf } from './state.js';

const TICK_MS = 500;
const STEP_S = 10;
const AT_LIVE_S = 3; // nearer to the sync position than this counts as live
const STALL_MS = 700; // shorter ones are not worth a panel
// the server has new media and yet nothing moves nor loads for so long: load anew
const STUCK_MS = { start: 30_000, playing: 8_000, afterOutage: 3_000 }; // a first picture takes 13 s at 250 kbit/s
const CATCH_UP_S = 4; // the engine's faster speed reaches no further (one target duration)
const JUMP_PERIOD_MS = 15_000; // a network that cannot hold the edge is not pushed there again and again
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
    const { isSoundOnly = false, wantsLowLatency = true } = recall();
    this.video = this.querySelector('video');
    this.name = name;
    this.isRecording = kind === 'recording';
    [this.src, this.soundSrc] = [src, soundSrc];
    this.feed = new Feed(stateUrl);
    this.feed.addEventListener('news', () => this.onNews());
    this.panel = new Panel(this);
    this.message = new Message(this.querySelector('[data-message]'));
    this.controls = new Controls(this);
    Object.assign(this, { isSoundOnly, wantsLowLatency, engine: null, broadcast: null, retry: null, stalls: [], sawOutage: false });
    Object.assign(this, { isWanted: false, hasPlayed: false, isStalled: true, isOver: false, isBroken: false });
  }

  upgrade() {
    this.querySelector('[data-plain]').remove(); // the plain audio of a page without scripts
    for (const part of this.querySelectorAll('[data-shell]')) part.hidden = false;
    const canFill = this.requestFullscreen || this.video.webkitEnterFullscreen;
    this.controls.buttons.fullscreen.hidden = !canFill;
  }

  // --- what the viewer does ---

  wireControls() {
    this.addEventListener('click', (event) => this.onClick(event));
    this.addEventListener('keydown', (event) => this.onKey(event));
    this.addEventListener('pointerdown', ({ target }) => target.closest('[data-do=toggle]') && this.preload()); // wins 0.1 s
    this.addEventListener('pointermove', () => this.wakeBar());
    this.addEventListener('focusin', () => this.wakeBar());
    document.addEventListener('fullscreenchange', () => this.show());
    addEventListener('online', () => this.retry && this.tryNow());
    onSlower(() => this.engine && this.dataset.lowLatency === 'on' && this.reload());
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
    else this.pause();
  }

  pause() {
    this.followsLive = false; // a place that the viewer chose
    this.video.pause();
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
    this.followsLive = positionS >= edgeS;
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

  // Low latency costs about 40 kbit/s more and 8 times the requests: never on 2G and 3G or where data is to be saved.
  get isLowLatency() {
    return this.wantsLowLatency && !isSlow();
  }

  setLowLatency(wantsLowLatency) {
    this.wantsLowLatency = wantsLowLatency;
    remember({ wantsLowLatency });
    this.reload();
  }

  soundOnly() {
    this.isSoundOnly = !this.isSoundOnly;
    remember({ isSoundOnly: this.isSoundOnly });
    this.reload();
  }

  settings() {
    this.controls.toggleSettings();
    if (!this.controls.settings.hidden) this.controls.settings.scrollIntoView({ block: 'nearest' });
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
    this.choose(true, recording, recording.replace('index.m3u8', 'audio.m3u8'));
    this.feed.rest();
    this.play();
  }

  // After it the page is the channel's again: it offers the recording once more, and a new broadcast starts by itself.
  leaveRecording() {
    this.choose(false, this.dataset.src, this.dataset.soundSrc);
    this.watchFeed();
  }

  choose(isRecording, src, soundSrc) {
    this.unload();
    this.endRetry();
    Object.assign(this, { isRecording, src, soundSrc });
  }

  // In full screen the bar lies over the picture and goes away when nobody moves.
  wakeBar() {
    this.toggleAttribute('data-idle', false);
    clearTimeout(this.barTimer);
    this.barTimer = setTimeout(() => this.toggleAttribute('data-idle', !this.video.paused), IDLE_BAR_MS);
  }

  // --- loading ---

  preload() {
    if (MediaSourceClass()) this.library ??= this.importEngine();
    return this.library;
  }

  // A browser remembers a module that failed to load, by its whole address: another fragment asks again.
  async importEngine() {
    this.imports = (this.imports ?? 0) + 1;
    try {
      return await import(`${this.dataset.engine}#${this.imports}`);
    } catch (error) {
      this.library = null;
      throw error;
    }
  }

  startIfOnAir() {
    if (this.isRecording || this.feed.facts?.state === 'live') this.load();
  }

  async load() {
    const turn = (this.turn = Symbol('load'));
    const options = { isLowLatency: this.isLowLatency, startPosition: this.isRecording ? 0 : -1, ...this.comeBack };
    this.followsLive = !this.comeBack;
    this.comeBack = null;
    const engine = await this.newEngine(options).catch(() => null);
    if (turn !== this.turn) return engine?.destroy();
    if (!engine) return this.isSupported ? this.onTrouble() : this.show();
    this.engine = engine;
    this.broadcast = this.feed.facts?.broadcast;
    this.dataset.with = engine.kind;
    engine.addEventListener('levels', () => this.onLevels());
    engine.addEventListener('trouble', ({ detail }) => this.onTrouble(detail.isGone));
    engine.load(this.isSoundOnly || this.feed.facts?.audio_only ? this.soundSrc : this.src);
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.watchStuck();
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
    Object.assign(this, { engine: null, hasPlayed: false, isStalled: true, isOver: false, isBroken: false });
  }

  clearTimers() {
    clearTimeout(this.stallTimer);
    clearTimeout(this.stuckTimer);
    this.stuckTimer = null;
  }

  // Loads the source anew and comes back to the viewer's place; who waits for a first picture of now has none.
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
    const hasPlace = this.hasPlayed || !this.followsLive;
    if (!isLive) this.comeBack = { startPosition: positionS };
    else if (hasPlace && lengthS - positionS > KEEP_PLACE_S) this.comeBack = { resumeDateMs: dateMs };
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
    if (this.isOwnStall && !this.sawOutage) this.countStall();
    Object.assign(this, { hasPlayed: true, isStalled: false, isOver: false, isOwnStall: false });
    if (this.engine.isAdvancing) this.sawOutage = false;
    this.endRetry();
    this.feed.isUrgent = false; // but asked now and then: there may be a message to every player
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
    this.wantsLowLatency = false; // for this visit only: nothing is remembered
    setTimeout(() => this.reload());
  }

  onEnd() {
    this.isOver = true;
    if (this.isRecording && this.dataset.kind === 'live') this.leaveRecording();
    else this.watchFeed();
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
    if (this.isStalled && this.engine) this.sawOutage ||= !isReachable || facts.state !== 'live' || !this.engine.isAdvancing;
    if (!isReachable) {
      if (!this.engine) this.scheduleRetry();
    } else if (!this.engine) {
      this.endRetry();
      if (this.isWanted) this.startIfOnAir();
    } else if (facts.state === 'live') {
      this.onLiveNews(facts);
    }
    this.message.show(facts?.message);
    rename(this, facts?.name);
    this.show();
  }

  // On the air, but this viewer has no picture: a new broadcast, or the old one came back without the engine noticing.
  onLiveNews({ broadcast }) {
    const isNew = broadcast !== this.broadcast;
    if (isNew && (this.isOver || this.isStalled)) {
      this.unload();
      if (this.isWanted) this.load();
    } else if (this.isBroken && !this.retry) {
      this.reload();
    } else if (this.isStalled && !this.retry && !this.stuckTimer) {
      this.watchStuck();
    }
  }

  watchStuck() {
    clearTimeout(this.stuckTimer);
    const afterMs = STUCK_MS[this.sawOutage ? 'afterOutage' : this.hasPlayed ? 'playing' : 'start'];
    const loadedS = this.loadedS;
    this.stuckTimer = setTimeout(() => this.onStuck(loadedS), afterMs);
  }

  // A slow network loads a little; a server that is away has no news: a new engine would help neither.
  onStuck(loadedS) {
    this.stuckTimer = null;
    if (!this.isStalled || this.feedState !== 'live') return;
    if (this.loadedS === loadedS && this.engine.isAdvancing) this.reload();
    else this.watchStuck();
  }

  get loadedS() {
    const { buffered } = this.video;
    return buffered.length ? buffered.end(buffered.length - 1) : 0;
  }

  // The engine gave up: it stays for its last picture, but only a new one plays.
  onTrouble(isGone = false) {
    this.isBroken = Boolean(this.engine);
    if (isGone && !this.retry) this.retry = { attempt: -1, delayS: 0 }; // addresses changed: no need to wait
    this.scheduleRetry();
    this.show();
  }

  scheduleRetry() {
    this.isOwnStall = false;
    const attempt = (this.retry?.attempt ?? -1) + 1;
    clearTimeout(this.retry?.timer);
    const delayS = retryDelayS(attempt);
    const spreadMs = Math.random() * 500; // all viewers lose a server at the same instant
    this.retry = { attempt, delayS, timer: setTimeout(() => this.tryNow(), delayS * 1000 + spreadMs) };
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
    if (!this.engine || !(this.isStalled || this.isBroken)) return;
    if (!this.feed.isReachable) this.scheduleRetry();
    else if (this.feed.facts.state === 'live') this.reloadOrLoad();
    else this.waitForFeed();
    this.show();
  }

  // Not this viewer's network but the feed is away: its state is told, and its return reloads (onLiveNews).
  waitForFeed() {
    this.endRetry();
    this.watchFeed();
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
    const delayS = isLive && this.hasPlayed ? this.delayS(dateMs) : null;
    return { isLive, isAtLive, lengthS: edgeS - startS, positionS: video.currentTime - startS, delayS, dateMs };
  }

  // By the date of the picture; never less than its distance from the newest media, whatever a clock says.
  delayS(dateMs) {
    const { latencyS } = this.engine;
    return dateMs ? Math.max((this.feed.nowMs - dateMs) / 1000, latencyS ?? 0) : latencyS;
  }

  // A slow start or a short stall left the viewer behind, further than the engine makes up for.
  followLive({ isLive, lengthS, positionS }) {
    const behindS = lengthS - positionS;
    const isDue = isLive && this.followsLive && this.isLowLatency && this.dataset.state === 'playing';
    if (!isDue || behindS < CATCH_UP_S || behindS > KEEP_PLACE_S) return;
    if (performance.now() - (this.jumpedMs ?? -Infinity) < JUMP_PERIOD_MS) return;
    this.jumpedMs = performance.now();
    this.video.currentTime = this.engine.edgeS;
  }

  tick() {
    const place = this.place();
    this.followLive(place);
    this.controls.showPlace(place);
    this.dataset.latency = place.delayS?.toFixed(2) ?? '';
    this.dataset.target = this.engine?.targetS?.toFixed(2) ?? '';
    this.dataset.atLive = place.isAtLive ? 'yes' : 'no';
  }

  onLevels() {
    this.showLevels();
    this.show();
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
      isCutOff: Boolean(this.retry) || !feed.isReachable,
      isSupported: this.isSupported,
    });
    const isArmed = isWanted && !this.engine;
    const hasNoPicture = this.engine?.hasNoPicture && !isSoundOnly; // of its own, not by the viewer's choice
    const facts = { state, feed: feed.facts?.state ?? '', lowLatency: isLowLatency ? 'on' : 'off' };
    Object.assign(this.dataset, facts, { soundOnly: isSoundOnly || hasNoPicture ? 'on' : 'off', armed: isArmed ? 'yes' : 'no' });
    this.controls.buttons.soundOnly.hidden = hasNoPicture;
    this.panel.show({ ...this.view(state), isArmed, isLoaded: Boolean(this.engine) });
    this.controls.showButtons({
      isPlaying: Boolean(this.engine) && !video.paused && !this.isOver,
      isMuted: video.muted,
      isSoundOnly,
      isFull: Boolean(document.fullscreenElement),
      volume: video.volume,
    });
    this.controls.showMode({ isLowLatency, isSlow: isSlow(), isLive: !this.isRecording });
    this.tick();
  }

  view(state) {
    const recording = this.feed.facts?.recording; // "/recordings/ID/index.m3u8"
    const recordingPage = recording && `${this.dataset.recordings}${recording.split('/')[2]}`;
    return { state, name: this.name, isRecording: this.isRecording, recordingPage, retryS: this.retry?.delayS, nowMs: this.feed.nowMs };
  }
}
