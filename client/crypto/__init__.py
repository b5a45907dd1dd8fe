"""Everything cryptographic of the client. The rule: nacl is imported in this package and nowhere else."""
