// Owns the bar under the picture and the settings: buttons and their changing labels, the seek bar, the menus.
import { clock, delay, duration, megabytesPerHour, say } from './words.js';

const LONG_DELAY_S = 60; // then the place in the window says it better

export class Controls {
  constructor(player) {
    const find = (selector) => player.querySelector(selector);
    this.player = player;
    this.buttons = Object.fromEntries([...player.querySelectorAll('.bar [data-do]')].map((button) => [button.dataset.do, button]));
    [this.seek, this.volume, this.time] = [find('[data-seek]'), find('[data-volume]'), find('[data-time]')];
    [this.badge, this.delay, this.meter] = [find('[data-badge]'), find('[data-delay]'), find('[data-meter]')];
    [this.settings, this.qualities, this.modes] = [find('[data-settings]'), find('[data-qualities]'), find('[data-modes]')];
    this.isDragging = false;
  }

  showButtons({ isPlaying, isMuted, isSoundOnly, isFull, volume }) {
    this.label('toggle', isPlaying ? 'pause' : 'play', isPlaying ? 'pause' : 'play');
    this.label('mute', isMuted ? 'unmute' : 'mute', isMuted ? 'muted' : 'sound');
    this.label('soundOnly', isSoundOnly ? 'withPicture' : 'soundOnly', isSoundOnly ? 'picture' : 'headphones');
    this.label('fullscreen', isFull ? 'leaveFullscreen' : 'fullscreen', isFull ? 'shrink' : 'expand');
    this.volume.value = isMuted ? 0 : volume;
    fill(this.volume, isMuted ? 0 : volume);
  }

  label(name, words, icon) {
    const button = this.buttons[name];
    if (button.dataset.says === words) return;
    button.dataset.says = words;
    button.setAttribute('aria-label', say(words));
    button.title = say(words);
    button.querySelector('use').setAttribute('href', `#i-${icon}`);
  }

  // place: {isLive, isAtLive, lengthS, positionS, delayS, dateMs}
  showPlace(place) {
    const { isLive, isAtLive, lengthS, positionS } = place;
    this.buttons.live.hidden = !isLive || isAtLive;
    this.badge.hidden = !isLive;
    this.badge.toggleAttribute('data-behind', !isAtLive);
    this.seek.disabled = lengthS < 1;
    this.seek.max = lengthS.toFixed(1);
    if (!this.isDragging) this.seek.value = isAtLive ? this.seek.max : positionS.toFixed(1);
    fill(this.seek, lengthS ? this.seek.value / lengthS : 0);
    this.showTime(place);
  }

  showTime({ isLive, isAtLive, lengthS, positionS, delayS, dateMs }) {
    const behindS = lengthS - positionS;
    const at = dateMs ? clock(dateMs) : '';
    this.delay.hidden = !isLive || delayS === null || delayS >= LONG_DELAY_S;
    if (delayS !== null) this.delay.textContent = say('delay', { seconds: delay(delayS) });
    this.time.hidden = lengthS <= 0;
    if (!isLive) {
      this.time.textContent = `${duration(positionS)} / ${duration(lengthS)}`;
      this.seek.setAttribute('aria-valuetext', say('positionOf', { position: duration(positionS), length: duration(lengthS) }));
      return;
    }
    this.time.textContent = isAtLive ? at : `−${duration(behindS)}`;
    const words = say(isAtLive ? 'positionLive' : 'positionBehind', { behind: duration(behindS), clock: at });
    this.seek.setAttribute('aria-valuetext', at ? words : words.replace(/,? *$/, '')); // no date, no clock
  }

  showQualities(levels, chosen, shown) {
    const automatic = { id: -1, words: say('automatic') + (shown ? ` (${shown.height}p)` : '') };
    const rungs = levels.map(({ id, height, bitrateBps }) => ({
      id,
      words: height ? `${height}p` : say('sound'),
      note: say('perHour', { mb: megabytesPerHour(bitrateBps) }),
    }));
    const choices = [automatic, ...rungs.reverse()];
    this.qualities.closest('fieldset').hidden = levels.length < 2;
    const signature = JSON.stringify([choices, chosen]);
    if (this.qualities.dataset.shown === signature) return;
    this.qualities.dataset.shown = signature;
    const focused = this.qualities.querySelector(':focus')?.value;
    this.qualities.replaceChildren(...choices.map((choice) => radio(choice, choice.id === chosen)));
    this.qualities.querySelector(`input[value="${focused}"]`)?.focus();
  }

  showMeter(shown) {
    this.meter.hidden = !shown?.bitrateBps;
    if (shown) this.meter.textContent = say('perHour', { mb: megabytesPerHour(shown.bitrateBps) });
  }

  showMode({ isLowLatency, isSlow, isLive }) {
    const group = this.modes.closest('fieldset');
    group.hidden = !isLive;
    group.querySelector('[data-too-slow]').hidden = !isSlow;
    this.modes.querySelector(`input[value=${isLowLatency ? 'low' : 'steady'}]`).checked = true;
    this.modes.querySelector('input[value=low]').disabled = isSlow;

  }

  toggleSettings(isOpen = this.settings.hidden) {
    this.settings.hidden = !isOpen;
    this.buttons.settings.setAttribute('aria-expanded', isOpen);
  }
}

// the part of a range before its thumb, for the stylesheet (a policy without inline styles allows the CSSOM)
function fill(range, share) {
  range.style.setProperty('--share', `${Math.min(100, Math.max(0, share * 100))}%`);
}

function radio({ id, words, note }, isChecked) {
  const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'quality', value: id, checked: isChecked });
  const label = document.createElement('label');
  label.append(input, element('span', words));
  if (note) label.append(element('small', note));
  return label;
}

function element(tag, words) {
  return Object.assign(document.createElement(tag), { textContent: words });
}
