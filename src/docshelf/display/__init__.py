"""What people see: HTML in notebooks, progress bars. Imports no other module of docshelf."""
