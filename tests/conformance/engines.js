// Plays one address with hls.js or Shaka Player and keeps count of what a viewer would notice, in window.report.
"use strict";

const TICK_MS = 50;
const STUCK_MS = 10_000;
const STALL_LOOKS = 6; // a playing video whose time has stood still in as many has stalled: one that nobody looked at has not

window.report = { engine: "", startMs: null, stallsS: [], stalledMs: 0, latenciesS: [], targetS: null, loadedAnew: "", fatal: () => [] };

function watch(video, playheadDate, target) {
  const began = performance.now();
  let lastTime = 0;
  let movedAt = began;
  let looks = 0;
  let isStalled = false;
  setInterval(() => {
    const now = performance.now();
    if (video.currentTime !== lastTime) {
      if (window.report.startMs === null && lastTime > 0) window.report.startMs = now - began;
      if (isStalled) window.report.stalledMs += now - movedAt;
      isStalled = false;
      lastTime = video.currentTime;
      movedAt = now;
      looks = 0;
    } else if (window.report.startMs !== null && !isStalled && ++looks > STALL_LOOKS) {
      isStalled = true;
      window.report.stallsS.push((now - began - window.report.startMs) / 1000);
    }
    const date = playheadDate();
    if (window.report.startMs !== null && date) window.report.latenciesS.push((Date.now() - date.getTime()) / 1000);
    window.report.targetS = target() ?? window.report.targetS;
  }, TICK_MS);
}

window.playHls = (video, url, options) => {
  // hls.js leaves catching up to who integrates it (maxLiveSyncPlaybackRate is 1 by default), and starts late by what it loads.
  const hls = new Hls({ maxLiveSyncPlaybackRate: 1.2, ...options });
  window.report.engine = `hls.js ${Hls.version}`;
  const errors = [];
  window.report.fatal = () => errors.filter((data) => data.fatal).map((data) => `${data.type} ${data.details}`);
  hls.on(Hls.Events.ERROR, (_, data) => errors.push(data));
  hls.loadSource(url);
  hls.attachMedia(video);
  watch(video, () => hls.playingDate, () => hls.targetLatency);
  video.play();
};

window.playShaka = async (video, url) => {
  shaka.polyfill.installAll();
  const player = new shaka.Player();
  window.report.engine = `Shaka Player ${shaka.Player.version}`;
  await player.attach(video);
  player.configure({ streaming: { lowLatencyMode: true } });
  // An error is told as critical first; Shaka then lowers it to recoverable where it goes on, as after a dropped hint.
  // A gap that no variant fills it tells as SEGMENT_MISSING and never lowers it, although it plays on after the gap.
  const errors = [];
  const { Code, Severity } = shaka.util.Error;
  const isCritical = (error) => error.severity === Severity.CRITICAL && error.code !== Code.SEGMENT_MISSING;
  window.report.fatal = () => errors.filter(isCritical).map((e) => `shaka ${e.category}.${e.code} ${e.data}`);
  player.addEventListener("error", (event) => errors.push(event.detail));
  watch(video, () => player.getPlayheadTimeAsDate(), () => player.getManifest()?.presentationTimeline.getDelay());
  const load = async () => {
    try {
      await player.load(url);
    } catch (error) {
      errors.push(error);
    }
    video.play();
  };
  await load();
  // On a busy machine Shaka 5.2.12 sometimes bars a variant whose hinted part was dropped (404, as the draft allows), goes
  // to another and back, and appends there what needs an init segment that it left out: no picture until it is loaded
  // anew. Its integrators do that; so does this page, once, and counts it.
  let stoodMs = performance.now();
  let lastTime = 0;
  setInterval(() => {
    if (video.currentTime !== lastTime || window.report.startMs === null || window.report.loadedAnew) stoodMs = performance.now();
    lastTime = video.currentTime;
    if (performance.now() - stoodMs < STUCK_MS) return;
    window.report.loadedAnew = errors.splice(0).map((e) => `${e.category}.${e.code}`).join(" ") || "stuck";
    load();
  }, TICK_MS);
};
