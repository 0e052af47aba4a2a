"""The HTTP door: events in, vendors' webhooks in, health out; every error one problem document.

``app.make_app`` returns an ASGI application; ``serve`` and the demo run it. Handlers are thin: what
they decide, they ask the trigger.
"""
