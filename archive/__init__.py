"""What is kept: recordings (files, copies, fixity, evidence, clips) and
Parliament's records (members, bills, sittings, Hansard).

Imports and exports are jobs (`archive/jobs.py`): what waits goes into a queue of DBOS's (`mbashara/job_queue.py`), and
a child makes it (`job_child.py`) that is fed by pipe, stops where nobody wants the job any more, and begins again,
some times, where it dies.
"""
