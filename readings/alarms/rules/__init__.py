"""Rules: what creates, changes and deletes them, and which devices they apply to.

May import the models, the conditions, their parameters and delivery, which writes the messages of ended alarms.
"""
