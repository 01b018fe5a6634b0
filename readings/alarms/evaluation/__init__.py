"""The evaluation: takes what is new in the logs, judges it by the active rules, and stores states and alarms.

May import the conditions, the models and the upkeep's locks, passes and failures.
"""
