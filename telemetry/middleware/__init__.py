"""Around every request: its id, its line in the log, problem documents and the content security policy.

May import monitoring.
"""
