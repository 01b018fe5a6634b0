"""Measures how many bytes a reading takes, as rows and sealed, and how quickly both are read."""
