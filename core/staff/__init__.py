"""Staff: accounts, passwords, second factors, sessions, and who may do what."""
