"""Webhooks: other programs are told of what happens at an institution, after the Standard Webhooks specification.

Other programs are told what is certain (`core/webhooks`): an event's message is written to the outbox in the event's
own transaction (`core/broadcasts/told.py`), and the work process sends it until it is taken.
"""
