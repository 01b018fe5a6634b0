"""Who is compared: how each is set up and started, and what is posted to it."""
