// Owns the keyboard: which key does what while the focus is in the player (WCAG 2.1.4: single keys only there).
const ACTIONS = {
  k: 'toggle',
  ' ': 'toggle',
  m: 'mute',
  f: 'fullscreen',
  arrowleft: 'back',
  j: 'back',
  arrowright: 'forward',
  l: 'forward',
  arrowup: 'louder',
  arrowdown: 'quieter',
  home: 'start',
  end: 'live',
  '.': 'live',
  a: 'soundOnly',
  '?': 'help',
};
const ARROWS = ['arrowleft', 'arrowright', 'arrowup', 'arrowdown', 'home', 'end'];

export function actionOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return undefined;
  const key = event.key.toLowerCase();
  const { target } = event;
  // a focused button, link or radio keeps the keys that work it
  if (key === ' ' && target.closest('button, a, input, summary')) return undefined;
  if (ARROWS.includes(key) && target.closest('[type=radio], [data-volume]')) return undefined;
  return ACTIONS[key];
}
