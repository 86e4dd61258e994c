"""Tables of mixed types with missing values."""
