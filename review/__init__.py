"""What people decide about labels: the queue, the record, agreement, and the page they work on."""
