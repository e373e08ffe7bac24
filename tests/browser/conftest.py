"""What is expected of a page has time on a slow machine: a limit that only what never comes meets."""

from playwright.sync_api import expect

expect.set_options(timeout=120_000)
