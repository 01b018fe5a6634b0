"""The implementations that are compared: how to set up and start each, and what to post to it."""
