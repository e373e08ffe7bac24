"""transcode.files reads files that someone sent: what is in them, and ffmpeg that makes our kind of media of them."""
