// Owns the words of the shell: the strings that the page carries in its language, numbers and clock times.
const page = JSON.parse(document.getElementById('mb-words').textContent);
const language = document.documentElement.lang;
// the hour of the event, wherever the viewer is (the pages date recordings in the same way)
const clockFormat = new Intl.DateTimeFormat(language, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
  timeZone: 'Africa/Dar_es_Salaam',
});
const numberFormat = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

export function say(key, values = {}) {
  return page[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function number(value) {
  return numberFormat.format(value);
}

export function clock(dateMs) {
  return clockFormat.format(dateMs);
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (value) => String(value).padStart(2, '0');
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

export function delay(seconds) {
  return number(seconds < 10 ? seconds : Math.round(seconds));
}

export function megabytesPerHour(bitrateBps) {
  const megabytes = (bitrateBps * 3600) / 8 / 1e6;
  return number(megabytes < 100 ? Math.round(megabytes) : Math.round(megabytes / 10) * 10);
}
