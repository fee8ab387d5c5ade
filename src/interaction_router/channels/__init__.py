"""What each vendor sends, read into raw interactions: one file a vendor, pure."""
