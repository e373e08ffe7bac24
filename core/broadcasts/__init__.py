"""A broadcast's life: the table of its states, its queries, its event log, and what media has to know of it."""
