"""What is kept: recordings (files, copies, fixity, evidence, clips) and
Parliament's records (members, bills, sittings, Hansard)."""
