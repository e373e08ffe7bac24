"""archive.imports takes in files that were made elsewhere: how they are sent, the queue that they wait in, and what of
them the catalogue says.

A file becomes a recording like a broadcast's (`mbashara/import_file.py`, `imported_broadcast.py`): its FLV goes
through the same packagers, recorder and ledger, in a process of its own whose ffmpegs are caged and read by descriptor
alone. It is made where nobody looks and takes its place by one rename, once its job can't be cancelled; a killed one
begins anew. An embargo that is asked for with the file stands in the first line of the ledger: the edge is told before
that rename, and the rows have it in the transaction in which they have the recording.
"""
