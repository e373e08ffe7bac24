"""archive.imports takes in files that were made elsewhere: how they are sent, the queue that they wait in, and what of
them the catalogue says."""
