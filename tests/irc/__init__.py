"""The IRC dialect, spoken to as clients speak."""
