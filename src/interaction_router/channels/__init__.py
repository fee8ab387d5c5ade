"""What gateways send, made into raw interactions, and the proof that it is they who sent it; one file a vendor."""
