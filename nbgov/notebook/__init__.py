"""What a notebook adds to a session: the magics, previews of results, and the approval card."""
