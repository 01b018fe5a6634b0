"""Sealing, unsealing and what upkeep does with sealed readings."""
