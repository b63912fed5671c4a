"""The page that lists the datasets: what it says of each one, its pictures, its rendering."""
