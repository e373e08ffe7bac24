// Owns how a part of the page becomes what the server says anew: only what differs is touched, so focus, what is
// being typed and opened details stay, and a screen reader is told nothing twice.
export function morph(now, fresh) {
  const held = document.activeElement;
  become(now, fresh);
  if (held.isConnected && held !== document.activeElement) held.focus({ preventScroll: true }); // it was moved
}

function become(now, fresh) {
  for (const { name } of [...now.attributes]) if (!fresh.hasAttribute(name) && !isOurs(now, name)) now.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (now.getAttribute(name) !== value && !isOurs(now, name)) now.setAttribute(name, value);
  }
  let at = now.firstChild;
  for (const one of [...fresh.childNodes]) {
    const match = find(at, one);
    if (!match) now.insertBefore(document.importNode(one, true), at);
    else if (match !== at) now.insertBefore(match, at);
    else at = at.nextSibling;
    if (match?.nodeType === 1) become(match, one);
    else if (match && match.data !== one.data) match.data = one.data;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// The one of the same key, wherever it is; without a key what stands in this very place.
function find(at, one) {
  const key = keyOf(one);
  if (!key) return at && !keyOf(at) && at.nodeName === one.nodeName ? at : null;
  for (let next = at; next; next = next.nextSibling) if (keyOf(next) === key && next.nodeName === one.nodeName) return next;
  return null;
}

const keyOf = (node) => node.id || node.dataset?.key;
const isOurs = (node, name) => name === 'open' && node.nodeName === 'DETAILS';
