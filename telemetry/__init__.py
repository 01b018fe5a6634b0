"""The project: settings, URLs, the ASGI application and its servers, middleware, monitoring and the console.

May import every other package; nothing imports it.
"""
