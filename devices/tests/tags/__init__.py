"""Tags of devices, in the API and in the console."""
