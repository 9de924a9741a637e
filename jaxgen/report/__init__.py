"""What people look at: the terminal, the plots, the page."""
