"""What the audit log survives, counted: ``make test-faults`` prints a row for every fault."""
