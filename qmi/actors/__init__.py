"""Who may call, when, and where it runs: actors, their mailboxes, locks and proxies."""
