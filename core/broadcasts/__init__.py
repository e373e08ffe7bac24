"""A broadcast's life: the table of its states, its queries, its event log, and what media has to know of it.

A broadcast's life is one table (`core/broadcasts/lifecycle.py`), led by people and by the clock (`acts.py`): they
schedule, rehearse, go live and end. Media reads each channel's plan with the keys, every 2 s and when web has
committed an act (`POST /refresh` on its socket), keeps it in `state/keys.json`, and decides what to do next in a pure
function (`mbashara/life.py`): without a database, and after a kill, the plan stands. What the recording tells becomes
rows and events later.

A dry run is a broadcast under another name (`core/broadcasts/dry_runs.py`): media knows it by a random path, so its
channel stays free. The work process sends it and looks at it (`mbashara/dry_run.py`); files and rows of its recording
go with it.
"""
