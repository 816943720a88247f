"""What all sides must agree on byte for byte. Pure: no files, no network, no clock."""
