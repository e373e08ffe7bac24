"""archive.recordings keeps what was on the air: the very segment files that viewers saw, the append-only index of each
rendition, the ledger of facts, and, from those alone, everything the database says about a recording.

A segment's SHA-256 is of its parts in memory, by a child of media (`segment_digests.py`, `hasher.py`); one that
is told with `read_back` was not there any more.

Rules are acts in two logs (`archive/recordings/policy.py`, `disposal.py`): each hold, embargo and order writes its
audit entry and its custody event in its own transaction, under the recording's row. Rows are the truth; what the edge
may not hand out is a file under `public/closed` or `public/gone` (`closures.py`), made before the act answers and again
by `mbashara/rules.py`, which also ends embargoes on the clock, tells stores of holds, and destroys what two people
ordered: media, never papers, and at places that are back what an order could not reach (`remains.py`; what lies at
forgotten ones is read from custody logs, `forgotten.py`). Staff have an address of their own for media
(`archive/pages/watch.py`), where web allows each file and the edge carries it.

Copies are turns (`mbashara/copying.py`, `fixity.py`, by DBOS): putting a file that is there already costs a look, so
whoever is killed takes the turn again. What a check found at every place is on record before anything is mended, or
what a killed process had mended would never be told. Papers go over nothing but what they go on from, and those that
are damaged here nowhere; what they grow by between two puts is in one small file beside them (`newest.py`). A check
judges the papers of all locations first (`archive/recordings/judge.py`), then reads every file (`fixity.py` beside it;
`core/digest.py` hashes two at a time, the one thing here in C), and mends only what the signed ledger and a copy agree
on (`repair.py`). The drill lays faults before these very functions. What a person must decide is a plan that is ordered
as it was shown (`resolve.py`, `contradiction.py`, `mbashara/resolving.py`); gaps follow (`gaps.py`). Where copies lie
is read from `locations.toml` again and again, and counts once it stands still (`mbashara/places.py`).

An export holds the recording's own samples (`archive/recordings/export_plan.py`, `core/media/mp4.py`): planned from
the heads of fragments, so its header goes first and its size is known before; each file is held against the ledger as
it is read. A clip is checked the other way round (`clips.py`): by the hashes of its packets, whatever its container. A
package's tar is read twice and stored never: hashed when it is made, put together when it is fetched (`bag_stream.py`,
`archive/exports/stream.py`).
"""
