// Owns the start of the player: turns every <mb-player> of the page into a working one.
//
// What tests and other scripts may read (never write) on the element:
//   data-state        checking ready before starting playing paused buffering lost ended retrying unsupported
//   data-feed         state of the feed as state.json last said it; empty while unknown
//   data-latency      seconds between the capture of the shown frame (PROGRAM-DATE-TIME) and now; empty if unknown
//   data-target       the delay in seconds that the engine steers to
//   data-at-live      "yes" or "no"
//   data-low-latency  "on" or "off"
//   data-sound-only   "on" or "off"
//   data-armed        "yes" when it will play by itself once the broadcast starts
//   data-with         "hls" or "native" once something is loaded
import { Player } from './player.js';

customElements.define('mb-player', Player);
