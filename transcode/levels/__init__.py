"""How loud a feed is: its last second of sound becomes two numbers a side in an ffmpeg of its own, beside the air."""
