"""How fast this machine trains, beside what others would write by hand."""
