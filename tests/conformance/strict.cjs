// Reads every *.m3u8 of a folder with hls-parser in strict mode; prints {file: reason} of those that it rejects.
const fs = require("node:fs");
const path = require("node:path");
const HLS = require("hls-parser");

HLS.setOptions({ strictMode: true });

// What hls-parser holds against a playlist although the draft allows it. Our own checker measures both exactly; the
// rest of hls-parser's rules are judged without the lines in question.
const LENIENCES = [
  // It takes "three target durations" for "three segments". Where segments are shorter than TARGETDURATION the draft
  // (4.4.4.9) wants more.
  ["Remove EXT-X-PART tags from the Playlist", withoutOldParts],
  // It knows of one short part, its parent's last one. The draft (4.4.4.9) has more of them: independent ones, gaps,
  // and what was cut off by a gap. Whether the newest is its parent's last one, the next list tells.
  ["at least 85% of PART-TARGET", withoutExcusedParts],
];

function withoutOldParts(text) {
  const whole = text.split("\n");
  const ends = whole.flatMap((line, at) => (line && !line.startsWith("#") ? [at] : []));
  const limit = ends.at(-3) ?? -1;
  return whole.filter((line, at) => at > limit || !line.startsWith("#EXT-X-PART:")).join("\n");
}

function withoutExcusedParts(text) {
  const whole = text.split("\n");
  const isGap = (line) => line?.startsWith("#EXT-X-PART:") && line.includes("GAP=YES");
  const newest = whole.findLastIndex((line) => line.startsWith("#EXT-X-PART:") || (line && !line.startsWith("#")));
  const isShort = (line) => Number(line.match(/DURATION=([\d.]+)/)[1]) < 0.85 * Number(text.match(/PART-TARGET=([\d.]+)/)[1]);
  const isExcused = (line, at) =>
    isGap(line) || isGap(whole[at + 1]) || line.includes("INDEPENDENT=YES") || (at === newest && isShort(line));
  return whole.filter((line, at) => !line.startsWith("#EXT-X-PART:") || !isExcused(line, at)).join("\n");
}

function judge(text) {
  try {
    HLS.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

const folder = process.argv[2];
const rejected = {};
for (const name of fs.readdirSync(folder).filter((name) => name.endsWith(".m3u8"))) {
  const text = fs.readFileSync(path.join(folder, name), "utf8");
  let judged = text;
  let reason = judge(judged);
  for (const [wrongly, without] of [...LENIENCES, ...LENIENCES]) {
    if (reason?.includes(wrongly)) reason = judge((judged = without(judged)));
  }
  if (reason) rejected[name] = reason;
}
console.log(JSON.stringify(rejected));
