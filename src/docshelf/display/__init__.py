"""What people see of values and of long work: HTML in notebooks, progress bars. Knows no other module of docshelf."""
