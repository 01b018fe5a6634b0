"""Several worker processes that serve on one port: `manage.py serve --workers N`.

The supervisor (`supervisor`) listens, starts the workers (`process`), starts them again and replaces them. Each worker
takes its connections from the socket that it has inherited (`shared_port`).
"""
