// Owns the page of imports: sends a file in pieces by tus 1.0.0, going on after every break, also one of days; and keeps
// the list of files as the server says. Without it the form sends the file at once and the page is reloaded by hand.
import { morph } from '../../../ingest/console/scripts/morph.js';

const FIELDS = 'select, input:not([type=hidden], [type=file]), textarea';
const PIECE_BYTES = 8 << 20;
const LONGEST_WAIT_MS = 30_000;
const LIST_MS = 2000;
const BEGIN_ANEW = new Set([404, 410]);
const LATER = new Set([409, 423, 429, 460, 502, 503, 504]);

class Refused extends Error {}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

async function ask(url, method, csrf, headers = {}, body = undefined) {
  const all = { 'Tus-Resumable': '1.0.0', 'X-CSRF': csrf, 'Accept-Language': document.documentElement.lang, ...headers };
  const answer = await fetch(url, { method, headers: all, body, cache: 'no-store' });
  if (answer.ok || BEGIN_ANEW.has(answer.status) || LATER.has(answer.status)) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Refused(problem.errors?.[0]?.message ?? problem.detail ?? String(answer.status));
}

async function checksum(piece) {
  if (!crypto.subtle) return {}; // a page over plain http on a network: TCP has sums of its own
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', await piece.arrayBuffer()));
  return { 'Upload-Checksum': `sha256 ${btoa(String.fromCharCode(...digest))}` };
}

// One file's way to the server. `told` are the form's fields; `onProgress(bytes, isPaused)` is called as it goes. What was
// begun goes on as it was begun: but not in the open where an embargo is asked for now.
class Upload {
  constructor(endpoint, csrf, file, told, onProgress) {
    Object.assign(this, { endpoint, csrf, file, told, onProgress });
    this.key = `upload ${[file.name, file.size, file.lastModified, told.channel].join(' ')}`;
    const kept = localStorage.getItem(this.key);
    const begun = kept?.startsWith('{') ? JSON.parse(kept) : {};
    if (begun.url && (begun.told.embargo || !told.embargo)) Object.assign(this, begun);
    else if (begun.url) ask(begun.url, 'DELETE', csrf).catch(() => null);
  }

  get isResumed() {
    return Boolean(this.url);
  }

  async run() {
    for (let waitMs = 500; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      try {
        if (!this.url && !(await this.create())) throw new Error('later');
        let at = await this.offset();
        while (this.url && at < this.file.size) {
          at = await this.send(at);
          waitMs = 500;
        }
        if (this.url) return localStorage.removeItem(this.key);
      } catch (error) {
        if (error instanceof Refused) throw error;
        this.onProgress(null, true);
        await wait(waitMs);
      }
    }
  }

  async create() {
    const told = Object.entries({ ...this.told, filename: this.file.name }).filter(([, value]) => value);
    const metadata = told.map(([name, value]) => `${name} ${base64(value)}`).join(',');
    const answer = await ask(this.endpoint, 'POST', this.csrf, { 'Upload-Length': this.file.size, 'Upload-Metadata': metadata });
    if (answer.status !== 201) return false;
    this.url = answer.headers.get('Location');
    localStorage.setItem(this.key, JSON.stringify({ url: this.url, told: this.told }));
    return true;
  }

  // What the server has; one that it knows no more begins anew.
  async offset() {
    const answer = await ask(this.url, 'HEAD', this.csrf);
    if (answer.ok) return Number(answer.headers.get('Upload-Offset'));
    if (BEGIN_ANEW.has(answer.status)) {
      localStorage.removeItem(this.key);
      this.url = null;
      return 0;
    }
    throw new Error('later');
  }

  async send(at) {
    const piece = this.file.slice(at, at + PIECE_BYTES);
    const headers = { 'Upload-Offset': at, 'Content-Type': 'application/offset+octet-stream', ...(await checksum(piece)) };
    const answer = await ask(this.url, 'PATCH', this.csrf, headers, piece);
    if (answer.status !== 204) throw new Error('later');
    const now = Number(answer.headers.get('Upload-Offset'));
    this.onProgress(now, false);
    return now;
  }
}

function attend(form) {
  const says = form.querySelector('[data-upload-says]');
  const bar = form.querySelector('progress');
  const button = form.querySelector('button');
  const words = form.dataset;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const file = form.elements.file.files[0];
    if (!file?.size) {
      says.textContent = words.none;
      return form.elements.file.focus();
    }
    const shown = [...form.querySelectorAll(FIELDS)].filter((field) => field.offsetParent && (field.type !== 'checkbox' || field.checked));
    const told = Object.fromEntries(shown.map((field) => [field.name, field.value]));
    const show = (bytes, isPaused) => {
      if (bytes !== null) bar.value = Math.round((1000 * bytes) / file.size);
      says.textContent = isPaused ? words.paused : `${words.sending}: ${Math.floor(bar.value / 10)} %`;
    };
    const upload = new Upload(words.upload, form.elements.csrf.value, file, told, show);
    says.textContent = upload.isResumed ? words.resumed : words.sending;
    button.disabled = true;
    bar.hidden = false;
    const hold = (leaving) => leaving.preventDefault();
    addEventListener('beforeunload', hold);
    try {
      await upload.run();
      bar.value = 1000;
      says.textContent = words.done;
      form.reset();
    } catch (error) {
      says.textContent = `${words.refused}: ${error.message}`;
    } finally {
      removeEventListener('beforeunload', hold);
      bar.hidden = true;
      button.disabled = false;
      refresh();
    }
  });
}

const list = document.querySelector('[data-imports]');

async function refresh() {
  const answer = await fetch(location.pathname + location.search, { cache: 'no-store' }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const fresh = page.querySelector('[data-imports]');
  if (fresh) morph(list, fresh);
  if (page.querySelector('[data-told]')?.childElementCount === 0) document.querySelector('[data-told]').replaceChildren();
}

attend(document.querySelector('form[data-upload]'));
setInterval(() => {
  const isSending = document.querySelector('form[data-upload] button').disabled;
  if (!document.hidden && (isSending || list.hasAttribute('data-under-way'))) refresh();
}, LIST_MS);
