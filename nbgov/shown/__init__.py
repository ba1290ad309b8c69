"""What people are shown in notebooks, terminals and pages: results, tickets, entries of the log."""
