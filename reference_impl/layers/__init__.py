"""What two papers state with the same equation: attention and positions."""
