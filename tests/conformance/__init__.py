"""Outside judges of our playlists: hls-parser in strict mode, hls.js, Shaka Player; and the watcher that feeds them."""
