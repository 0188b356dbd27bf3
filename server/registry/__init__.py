"""What is persistent: forget requests and their versions, profiles, decisions, the epoch."""
