// Owns the stand-in for the parts of hls.js left out: our media is fMP4 only, so no other demuxer ever fits.
export default class Absent {
  static probe() {
    return false;
  }
}
export const hasUMDWorker = () => false;
export const injectWorker = undefined;
export const loadWorker = undefined;
export const removeWorkerFromStore = () => {};
