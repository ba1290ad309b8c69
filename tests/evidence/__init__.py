"""Tests of what the audit log shows, and to whom."""
