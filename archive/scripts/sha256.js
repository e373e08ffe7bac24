// Owns SHA-256 (FIPS 180-4) of data that comes in pieces: WebCrypto wants a whole file in memory, and https.
const K = new Uint32Array(64);
const FIRST = new Uint32Array(8);
for (let n = 2, found = 0; found < 64; n++) {
  let isPrime = true;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) isPrime = false;
  if (!isPrime) continue;
  if (found < 8) FIRST[found] = fraction(Math.sqrt(n));
  K[found++] = fraction(Math.cbrt(n));
}

function fraction(number) {
  return Math.floor((number - Math.floor(number)) * 2 ** 32);
}

export class Sha256 {
  #state = FIRST.slice();
  #words = new Uint32Array(64);
  #rest = new Uint8Array(64);
  #left = 0;
  #bytes = 0;

  update(data) {
    this.#bytes += data.length;
    let at = 0;
    if (this.#left) {
      at = Math.min(64 - this.#left, data.length);
      this.#rest.set(data.subarray(0, at), this.#left);
      this.#left += at;
      if (this.#left < 64) return this;
      this.#block(new DataView(this.#rest.buffer), 0);
      this.#left = 0;
    }
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (; at + 64 <= data.length; at += 64) this.#block(view, at);
    this.#rest.set(data.subarray(at));
    this.#left = data.length - at;
    return this;
  }

  // Ends it: the hash in hex.
  hex() {
    const bits = this.#bytes * 8;
    const tail = new Uint8Array((this.#left < 56 ? 64 : 128) - this.#left);
    tail[0] = 0x80;
    const view = new DataView(tail.buffer);
    view.setUint32(tail.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(tail.length - 4, bits >>> 0);
    this.update(tail);
    return Array.from(this.#state, (word) => word.toString(16).padStart(8, '0')).join('');
  }

  #block(view, at) {
    const w = this.#words;
    const s = this.#state;
    for (let i = 0; i < 16; i++) w[i] = view.getUint32(at + i * 4);
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15];
      const y = w[i - 2];
      const low = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const high = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + low + w[i - 7] + high) | 0;
    }
    let a = s[0] | 0;
    let b = s[1] | 0;
    let c = s[2] | 0;
    let d = s[3] | 0;
    let e = s[4] | 0;
    let f = s[5] | 0;
    let g = s[6] | 0;
    let h = s[7] | 0;
    for (let i = 0; i < 64; i++) {
      const sum1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + sum1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const sum0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (sum0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
    s[4] += e;
    s[5] += f;
    s[6] += g;
    s[7] += h;
  }
}
