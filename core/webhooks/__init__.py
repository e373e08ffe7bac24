"""Webhooks: other programs are told of what happens at an institution, after the Standard Webhooks specification."""
