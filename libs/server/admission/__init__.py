"""Which calls run now, which wait, and which are refused; and how their requests are received."""
