"""What all three packages stand on: errors, the Hub session, commits, files, cards' syntax."""
