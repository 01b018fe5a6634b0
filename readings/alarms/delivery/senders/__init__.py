"""Sends one message by e-mail, to a webhook, or with Apprise, to checked addresses only."""
