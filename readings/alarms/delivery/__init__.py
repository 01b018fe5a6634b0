"""Delivery: channels, mutes, the outbox of messages about alarms, and the loop that sends them.

May import the models, the documents and the signals of alarms. Rules and the evaluation write messages; nothing here
knows them. The reasons: docs/decisions/0045-deliver-through-an-outbox.md
"""
