"""The JSON API under /api/v1, for other programs. Each resource is a file; what all of them share is in caller.py
(who asks), answers.py (reading and writing) and problems.py (errors). /api/v1/openapi.json is the contract."""
