"""Tables in time: dates, series, windows over them."""
