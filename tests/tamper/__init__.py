"""Every way to tamper with an audit log, on real files, and who finds it out."""
