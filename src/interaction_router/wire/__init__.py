"""The JSON of the contract and of the internal log, and its conversion to domain types and back."""
