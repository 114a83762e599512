"""Files that outlive the process that writes them and are read while it does."""
