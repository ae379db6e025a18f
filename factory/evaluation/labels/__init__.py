"""Labels of people: which answers they are asked about, and judges' scores corrected by them."""
