"""API tokens: named keys with scopes, perhaps an end, and perhaps a limit to the devices with some tags.

`models` and `querysets` are among the models of `devices`, and may import only what those import. `making` creates and
deletes tokens and logs it.
"""
