"""`make bench-alarms`: how soon a message about an alarm arrives, and what rules cost ingest."""
