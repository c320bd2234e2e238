"""What people read: tables. Works without torch."""
