"""Parts of the device admin: rotation of keys, the page of new keys, and bulk changes that ask before they act.

May import the models, `devices.access.rotation` and `devices.changes.log`, but not the API.
"""
