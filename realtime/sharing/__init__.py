"""Links that show one saved view, read-only, to whoever has them: their API, their page and its socket.

May import everything of `realtime` but its URLs. A link's token reaches what is in this folder, and nothing else.
"""
