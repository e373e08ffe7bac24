"""archive.exports hands recordings out: who asked for which stretch, the queue that it waits in, and the files made."""
