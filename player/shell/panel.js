// Owns the panel over the picture: what each state says, its icon and what the viewer can do about it.
import { say } from './words.js';

// state -> [icon, title, text, words on the main button]; a missing entry means that nothing covers the picture
const FACES = {
  checking: ['wait', 'checking', null, null],
  ready: ['play', 'ready', 'readyText', 'watch'],
  before: ['clock', 'before', 'beforeText', 'arm'],
  starting: ['wait', 'starting', null, null],
  paused: ['play', 'paused', null, 'resume'],
  buffering: ['wait', 'buffering', null, null],
  lost: ['signal', 'lost', 'lostText', null],
  ended: ['end', 'ended', null, null],
  retrying: ['network', 'retrying', 'retryingText', 'retry'],
  unsupported: ['network', 'unsupported', 'unsupportedText', null],
};

function faceOf({ state, isLoaded, isArmed, isRecording, recordingPage, retryS }) {
  const [icon, title, text, button] = FACES[state] ?? [null, null, null, null];
  if (state === 'lost' && !isLoaded) return [icon, title, isArmed ? 'armedText' : 'lostFirstText', isArmed ? 'disarm' : 'armAgain'];
  if (state === 'before' && isArmed) return [icon, title, 'armedText', 'disarm'];
  if (state === 'ready' && isRecording) return ['play', 'recording', 'readyText', 'watchRecording'];
  if (state === 'retrying' && retryS === undefined) return [icon, title, 'cutOffText', button]; // the engine itself asks again
  if (state === 'ended' && isRecording) return [icon, 'recordingEnded', null, 'again'];
  if (state === 'ended') return [icon, title, recordingPage ? 'endedText' : 'endedBareText', null];
  return [icon, title, text, button];
}

export class Panel {
  constructor(player) {
    const find = (name) => player.querySelector(`[data-panel=${name}]`);
    this.root = find('root');
    this.next = player.querySelector('.bar [data-do=toggle]');
    [this.icon, this.title, this.text] = [find('icon'), find('title'), find('text')];
    [this.button, this.recording, this.link] = [find('button'), find('recording'), find('link')];
    this.planned = find('planned'); // absent where nothing is planned
    this.plannedMs = Date.parse(this.planned?.dataset.at);
  }

  show(view) {
    const focused = this.root.contains(document.activeElement) && document.activeElement;
    const [icon, title, text, button] = faceOf(view);
    this.root.dataset.icon = icon ?? '';
    this.icon.firstElementChild.setAttribute('href', `#i-${icon ?? 'play'}`);
    write(this.title, title && say(title, { name: view.name }));
    if (this.planned) this.planned.hidden = !(view.state === 'before' || (view.state === 'ended' && view.nowMs < this.plannedMs));
    write(this.text, text && say(text, { seconds: view.retryS }));
    write(this.button, button && say(button));
    this.button.hidden = !button;
    const hasRecording = view.state === 'ended' && !view.isRecording && Boolean(view.recordingPage);
    this.recording.hidden = this.link.hidden = !hasRecording;
    if (hasRecording) this.link.href = view.recordingPage;
    if (focused?.hidden) this.next.focus({ preventScroll: true }); // or the keyboard would fall out of the player
  }
}

// A live region that is written again is read again: touch it only when the words change.
function write(element, words) {
  if (element.textContent !== (words ?? '')) element.textContent = words ?? '';
}
