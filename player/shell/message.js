// Owns the words that the staff send to every player: shown in the page's language, read aloud once, gone when withdrawn.
export class Message {
  constructor(root) {
    this.root = root;
  }

  show(message) {
    const words = message?.[document.documentElement.lang] ?? '';
    this.root.dataset.level = message?.level ?? '';
    if (this.root.textContent !== words) this.root.textContent = words; // a live region written again is read again
  }
}
